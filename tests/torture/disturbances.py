"""What goes wrong during a torture run. Each ends by itself, and the node is whole again."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable
from typing import Any

import grpc

from tests.support.client import Csi, code_of, of_snapshot, patiently
from tests.support.disks import run
from tests.support.free_space import take_all
from tests.torture.client import differences
from tests.torture.model import Fact, certain
from tests.torture.run import TortureRun

FOREIGN = "somebody-elses"  # the name of a file in the pool
LOOKS = 6  # volumes that are read after a power cut


def kill(torture: TortureRun) -> None:
    """SIGKILL of the driver, and its start."""
    torture.csi.driver.kill()
    torture.csi.driver.start()


def stop(torture: TortureRun) -> None:
    """SIGTERM of the driver: it must leave with status 0 while calls run, and start again."""
    if status := torture.csi.driver.stop():
        torture.findings.add(f"SIGTERM: exit status {status}")
    torture.csi.driver.start()


def fill(torture: TortureRun) -> None:
    """Somebody else takes the last byte of the pool's filesystem, for a moment."""
    foreign = torture.disk.where / FOREIGN
    take_all(foreign)
    time.sleep(2)
    foreign.unlink()


def freeze(torture: TortureRun) -> None:
    """The pool's filesystem stands still for three seconds."""
    torture.node.freeze(torture.disk.where)
    time.sleep(3)
    torture.node.thaw(torture.disk.where)


def vanish(torture: TortureRun) -> None:
    """The pool's disk is unmounted lazily, and mounted again two seconds later."""
    torture.disk.pull()
    time.sleep(2)
    torture.disk.mount()


def turn_read_only(torture: TortureRun) -> None:
    """Make the pool's filesystem read-only for two seconds; it can be where nothing is attached."""
    with torture.standing_still(down=True):
        run("mount", "-o", "remount,ro", torture.disk.where)
    time.sleep(2)
    run("mount", "-o", "remount,rw", torture.disk.where)


def hold(torture: TortureRun) -> None:
    """Somebody has a loop device of the pool open for a second, as udev does."""
    for device in torture.node.loops()[:1]:
        with contextlib.suppress(OSError), open(device, "rb"):
            time.sleep(1)


_number = itertools.count(1)


def cut_power(torture: TortureRun) -> None:
    """A copy of the disk as a power cut leaves it: what was certain before and after is on it."""
    before = torture.model.facts()
    copy = torture.node.copy(torture.disk, f"cut{next(_number)}")
    facts = certain(before, torture.model.facts())
    copy.mount()
    (copy.where / FOREIGN).unlink(missing_ok=True)  # btrfs had not committed that it was removed
    csi = torture.node.start(f"p=loopfile:{copy.where}")
    try:
        _check_copy(torture, csi, facts)
    finally:
        csi.driver.stop()
        copy.unmount()
        torture.node.disks.remove(copy)
        copy.image.unlink()


def _check_copy(torture: TortureRun, csi: Csi, facts: list[Fact]) -> None:
    there = {*csi.volumes(), *csi.snapshots()}
    for fact in facts:
        if fact.id not in there:
            torture.findings.add(f"power cut: {fact} is gone")
    present = [fact for fact in facts if fact.id in there]
    for fact in torture.chosen.sample(present, min(LOOKS, len(present))):
        try:
            _read(torture, csi, fact)
            torture.counts["volumes read after power cuts"] += 1
        except grpc.RpcError as error:
            if fact.snapshot and code_of(error) == "RESOURCE_EXHAUSTED":
                continue  # the copy of a full pool has no room for a restore
            text = f"{code_of(error)} {error.details()!r}"
            torture.findings.add(f"power cut: {fact.id} ({fact.fs or 'raw'}): {text}")


def _read(torture: TortureRun, csi: Csi, fact: Fact) -> None:
    how: dict[str, Any] = {"fs": fact.fs} if fact.fs else {"block": True}
    if fact.fs == "xfs":
        how["flags"] = ["nouuid"]  # the volume that it was copied from may be mounted beside it
    volume = fact.id
    if fact.snapshot:
        source = of_snapshot(fact.id)
        made = csi.create_patiently(f"of-{fact.id}", fact.size, source=source, **how)
        volume = made.volume_id
    life = torture.node.life(csi, volume, pod="cut", **how)
    patiently(life.up)
    if wrong := differences(fact.files, life.target, fact.fs):
        torture.findings.add(f"power cut: {fact.id} ({fact.fs or 'raw'}): {wrong}")
    patiently(life.down)


def look_at_all(torture: TortureRun) -> None:
    """With all clients standing still: what is certain is listed, and nothing else."""
    listed = {*torture.csi.volumes(), *torture.csi.snapshots()}
    sure = set(torture.model.facts())
    if missing := sure - listed:
        torture.findings.add(f"not listed: {sorted(missing)}")
    if surplus := listed - torture.model.possible():
        torture.findings.add(f"listed, and nobody has made them: {sorted(surplus)}")
    left = [one for one in torture.disk.entries() if one.startswith((".new-", ".del-"))]
    if left:
        torture.findings.add(f"half-made things with nobody at work: {left}")


def frozen(torture: TortureRun) -> list[str]:
    """Return the mounts of volumes that cannot be written to, for want of a thaw."""
    words = ["timeout", "5", "sync", "--file-system"]
    return [
        one
        for one in torture.node.mounts()
        if subprocess.run([*words, one], check=False, capture_output=True).returncode == 124
    ]


ALL: dict[str, Callable[[TortureRun], None]] = {
    "kill": kill,
    "power cut": cut_power,
    "stop": stop,
    "fill": fill,
    "freeze": freeze,
    "vanish": vanish,
    "read-only": turn_read_only,
    "hold": hold,
}
