"""What goes wrong during a torture run. Each ends by itself, and the node is whole again."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable
from typing import Any

import grpc

from tests.promises.client import Csi, code_of, of_snapshot, patiently
from tests.promises.disks import run
from tests.support.free_space import take_all
from tests.torture.client import differences
from tests.torture.ground import Ground
from tests.torture.model import Fact, certain

LOOKS = 6  # volumes that are read after a power cut


def kill(ground: Ground) -> None:
    """SIGKILL of the driver, and its start."""
    ground.csi.driver.kill()
    ground.csi.driver.start()


def stop(ground: Ground) -> None:
    """SIGTERM of the driver: it must leave with status 0 while calls run, and start again."""
    if status := ground.csi.driver.stop():
        ground.findings.add(f"SIGTERM: exit status {status}")
    ground.csi.driver.start()


def fill(ground: Ground) -> None:
    """Somebody else takes the last byte of the pool's filesystem, for a moment."""
    foreign = ground.disk.where / "somebody-elses"
    take_all(foreign)
    time.sleep(2)
    foreign.unlink()


def freeze(ground: Ground) -> None:
    """The pool's filesystem stands still for three seconds."""
    ground.node.freeze(ground.disk.where)
    time.sleep(3)
    ground.node.thaw(ground.disk.where)


def vanish(ground: Ground) -> None:
    """The pool's disk is unmounted lazily, and mounted again two seconds later."""
    ground.disk.pull()
    time.sleep(2)
    ground.disk.mount()


def turn_read_only(ground: Ground) -> None:
    """Make the pool's filesystem read-only for two seconds; it can be where nothing is attached."""
    with ground.standing_still(down=True):
        run("mount", "-o", "remount,ro", ground.disk.where)
    time.sleep(2)
    run("mount", "-o", "remount,rw", ground.disk.where)


def hold(ground: Ground) -> None:
    """Somebody has a loop device of the pool open for a second, as udev does."""
    for device in ground.node.loops()[:1]:
        with contextlib.suppress(OSError), open(device, "rb"):
            time.sleep(1)


_number = itertools.count(1)


def cut_power(ground: Ground) -> None:
    """A copy of the disk as a power cut leaves it: what was certain before and after is on it."""
    before = ground.model.facts()
    copy = ground.node.copy(ground.disk, f"cut{next(_number)}")
    facts = certain(before, ground.model.facts())
    copy.mount()
    csi = ground.node.start(f"p=loopfile:{copy.where}")
    try:
        _check_copy(ground, csi, facts)
    finally:
        csi.driver.stop()
        copy.unmount()
        ground.node.disks.remove(copy)
        copy.image.unlink()


def _check_copy(ground: Ground, csi: Csi, facts: list[Fact]) -> None:
    there = {*csi.volumes(), *csi.snapshots()}
    for fact in facts:
        if fact.id not in there:
            ground.findings.add(f"power cut: {fact} is gone")
    present = [fact for fact in facts if fact.id in there]
    for fact in ground.chosen.sample(present, min(LOOKS, len(present))):
        try:
            _read(ground, csi, fact)
            ground.counts["volumes read after power cuts"] += 1
        except grpc.RpcError as error:
            if fact.snapshot and code_of(error) == "RESOURCE_EXHAUSTED":
                continue  # the copy of a full pool has no room for a restore
            text = f"{code_of(error)} {error.details()!r}"
            ground.findings.add(f"power cut: {fact.id} ({fact.fs or 'raw'}): {text}")


def _read(ground: Ground, csi: Csi, fact: Fact) -> None:
    how: dict[str, Any] = {"fs": fact.fs} if fact.fs else {"block": True}
    if fact.fs == "xfs":
        how["flags"] = ["nouuid"]  # the volume that it was copied from may be mounted beside it
    volume = fact.id
    if fact.snapshot:
        source = of_snapshot(fact.id)
        made = csi.create_patiently(f"of-{fact.id}", fact.size, source=source, **how)
        volume = made.volume_id
    life = ground.node.life(csi, volume, pod="cut", **how)
    patiently(life.up)
    if wrong := differences(fact.files, life.target, fact.fs):
        ground.findings.add(f"power cut: {fact.id} ({fact.fs or 'raw'}): {wrong}")
    patiently(life.down)


def look_at_all(ground: Ground) -> None:
    """With all clients standing still: what is certain is listed, and nothing else."""
    listed = {*ground.csi.volumes(), *ground.csi.snapshots()}
    sure = set(ground.model.facts())
    if missing := sure - listed:
        ground.findings.add(f"not listed: {sorted(missing)}")
    if surplus := listed - ground.model.possible():
        ground.findings.add(f"listed, and nobody has made them: {sorted(surplus)}")
    left = [one for one in ground.disk.entries() if one.startswith((".new-", ".del-"))]
    if left:
        ground.findings.add(f"half-made things with nobody at work: {left}")


def frozen(ground: Ground) -> list[str]:
    """Return the mounts of volumes that cannot be written to, for want of a thaw."""
    words = ["timeout", "5", "sync", "--file-system"]
    return [
        one
        for one in ground.node.mounts()
        if subprocess.run([*words, one], check=False, capture_output=True).returncode == 124
    ]


ALL: dict[str, Callable[[Ground], None]] = {
    "kill": kill,
    "power cut": cut_power,
    "stop": stop,
    "fill": fill,
    "freeze": freeze,
    "vanish": vanish,
    "read-only": turn_read_only,
    "hold": hold,
}
