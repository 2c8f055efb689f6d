"""`--trim-interval`: space that a pod freed comes back to the pool by itself, and harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.client import Csi, patiently
from tests.support.disks import MIB, run
from tests.support.node import Life, Node, image_of
from tests.support.waiting import wait_until

SIZE = 512 * MIB
WRITTEN = 96 * MIB
OPTIONS = ["--trim-interval", "1"]


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def used(node: Node, csi: Csi, name: str, fs: str, allocation: str) -> Life:
    """A mounted volume to which a pod has written, and from which it has deleted all but a bit."""
    parameters = {"allocation": allocation}
    volume = csi.create(name, SIZE, fs=fs, parameters=parameters)
    life = node.life(csi, volume.volume_id, fs=fs, pod=name)
    target = life.up()
    life.write("large", WRITTEN)
    run("sync", "--file-system", target)
    return life


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_what_a_pod_deleted_comes_back(node: Node, fs: str) -> None:
    disk = node.disk("xfs", 2048 * MIB)
    csi = node.start(f"p=loopfile:{disk.where}", options=OPTIONS)
    sparse = used(node, csi, "sparse", fs, "sparse")
    thick = used(node, csi, "thick", fs, "thick")
    kept = sparse.write("kept")
    before = allocated(image_of(disk, sparse.volume_id, SIZE))
    full = allocated(image_of(disk, thick.volume_id, SIZE))
    assert before > WRITTEN
    for life in (sparse, thick):
        (life.target / "large").unlink()
        run("sync", "--file-system", life.target)
    image = image_of(disk, sparse.volume_id, SIZE)
    wait_until(lambda: allocated(image) < before - WRITTEN * 9 // 10, 60)
    assert sparse.read("kept") == kept
    assert allocated(image_of(disk, thick.volume_id, SIZE)) == full, "thick stays thick"
    for life in (sparse, thick):
        patiently(life.down)
        patiently(lambda gone=life: csi.delete(gone.volume_id))  # type: ignore[misc]


def test_no_call_is_refused_because_a_volume_is_being_trimmed(node: Node) -> None:
    disk = node.disk("xfs", 2048 * MIB)
    csi = node.start(f"p=loopfile:{disk.where}", options=["--trim-interval", "1"])
    volume = csi.create("data", SIZE, parameters={"allocation": "sparse"})
    life = node.life(csi, volume.volume_id)
    for number in range(20):
        life.up()
        written = life.write(f"{number}", 4 * MIB)
        csi.snapshot(f"s{number}", volume.volume_id)
        assert life.read(f"{number}") == written
        (life.target / f"{number}").unlink()
        life.down()
    assert "ABORTED" not in csi.driver.log.read_text()
