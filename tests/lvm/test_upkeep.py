"""Volumes of volume groups that are held, and thin ones whose freed space comes back by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lvm.conftest import making, named, said
from tests.support import disks as promised
from tests.support.client import Csi, of_snapshot, outcome, patiently, refused
from tests.support.disks import MIB
from tests.support.driver_process import ROOT
from tests.support.node import Life, Node
from tests.support.waiting import wait_until

GIB = 1 << 30
SIZE = 256 * MIB
WRITTEN = 96 * MIB


@pytest.fixture(scope="module")
def served(disks: Path) -> Iterator[tuple[Node, Csi]]:
    """A driver with a thick and a thin pool, which trims every second."""
    with promised.shelf() as shelf, making(disks) as make:
        thick, thin = make("thick", size=2 * GIB), make("thinly", size=3 * GIB, thin=2 * GIB)
        node = Node(shelf)
        devices = f"devices={':'.join(named())},init=true"
        pools = (f"thick=lvm:{thick},{devices}", f"thin=lvm:{thin},{devices}")
        csi = node.start(*pools, options=["--trim-interval", "1"])
        try:
            yield node, csi
        finally:
            node.close()


def cellar(csi: Csi, verb: str, volume_id: str) -> str:
    words = [sys.executable, "-m", "driver", verb, volume_id, "--endpoint", csi.driver.endpoint]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("pool", ["thick", "thin"])
def test_a_held_volume_is_not_deleted_until_it_is_released(
    served: tuple[Node, Csi], pool: str
) -> None:
    node, csi = served
    volume_id = csi.create_patiently(f"held-{pool}", SIZE, parameters={"pool": pool}).volume_id
    life = node.life(csi, volume_id)
    life.up()
    written = life.write()
    life.down()
    assert "is held" in cellar(csi, "hold", volume_id)
    with refused("FAILED_PRECONDITION"):
        csi.delete(volume_id)
    csi.driver.kill()
    csi.driver.start()
    # UNAVAILABLE until the pools were found again
    wait_until(lambda: outcome(lambda: csi.delete(volume_id)) == "FAILED_PRECONDITION", 60)
    life.up()
    assert life.read() == written
    life.down()
    assert "is not held" in cellar(csi, "release", volume_id)
    csi.delete(volume_id)


def mapped_bytes(volume_id: str) -> int:
    """How much a thin volume occupies: the second number of its status (thin(5) of dm)."""
    status = said("dmsetup", "status", "--noflush", _device(volume_id)).split()
    return int(status[3]) * 512


def _device(volume_id: str) -> str:
    name = f"thinly-cellar-{volume_id}".replace("-", "--").replace("thinly--", "thinly-", 1)
    assert name in said("dmsetup", "ls")
    return name


def used(node: Node, csi: Csi, name: str, fs: str) -> Life:
    """A mounted thin volume to which a pod has written a large file and a small one."""
    volume = csi.create_patiently(name, SIZE, fs=fs, parameters={"pool": "thin"})
    life = node.life(csi, volume.volume_id, fs=fs, pod=name)
    target = life.up()
    life.write("large", WRITTEN)
    said("sync", "--file-system", str(target))
    return life


def comes_back(life: Life, before: int) -> None:
    """Wait until the volume occupies less than `before`, by most of the large file."""
    most = before - WRITTEN * 9 // 10
    try:
        wait_until(lambda: mapped_bytes(life.volume_id) < most, 240)
    except AssertionError:
        log = life.csi.driver.log.read_text()[-3000:]
        raise AssertionError(f"{mapped_bytes(life.volume_id)} of {before}:\n{log}") from None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_what_a_pod_deleted_comes_back_to_the_thin_pool(served: tuple[Node, Csi], fs: str) -> None:
    node, csi = served
    life = used(node, csi, f"trimmed-{fs}", fs)
    kept = life.write("kept")
    before = mapped_bytes(life.volume_id)
    assert before > WRITTEN
    (life.target / "large").unlink()
    said("sync", "--file-system", str(life.target))
    comes_back(life, before)
    assert life.read("kept") == kept
    snapshot = csi.snapshot(f"of-{fs}", life.volume_id).snapshot_id
    life.write("large", WRITTEN)
    (life.target / "large").unlink()
    said("sync", "--file-system", str(life.target))
    comes_back(life, before)
    source, parameters = of_snapshot(snapshot), {"pool": "thin"}
    restored = csi.create_patiently(f"copy-{fs}", SIZE, fs=fs, source=source, parameters=parameters)
    copy = node.life(csi, restored.volume_id, fs=fs, pod="copy")
    copy.up()
    assert copy.read("kept") == kept, "a snapshot keeps what is trimmed in its source"
    for each in (copy, life):
        patiently(each.down)
        patiently(lambda gone=each: csi.delete(gone.volume_id))  # type: ignore[misc]
    patiently(lambda: csi.delete_snapshot(snapshot))
