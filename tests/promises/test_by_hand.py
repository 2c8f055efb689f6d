"""The documents' recipe for reading a volume without Cellar, run as it stands there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import documents
from tests.promises.conftest import FILESYSTEMS, serve
from tests.support.disks import MIB, Disk, run
from tests.support.node import Life, Node

POOL = "/srv/fast"


def recipe() -> str:
    [block] = documents.blocks(how="run", what="by hand")
    return block.text


def read(disk: Disk, image_id: str, place: Path, options: str = "") -> dict[str, bytes]:
    """What the recipe shows of an image; all that it made is taken away again."""
    place.mkdir()
    script = recipe().replace(POOL, str(disk.where)).replace("/ID/", f"/{image_id}/")
    script = script.replace("/mnt", str(place)).replace("mount ", f"mount {options} ")
    script += 'echo "device $DEVICE"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
    try:
        assert done.returncode == 0, done.stderr
        return {one.name: one.read_bytes() for one in place.iterdir() if one.is_file()}
    finally:
        subprocess.run(["umount", place], check=False, capture_output=True)
        copies = run(
            "losetup", "--noheadings", "--output", "NAME", "--associated", disk.where / "copy.img"
        )
        for device in copies.split():
            run("losetup", "--detach", device)
        (disk.where / "copy.img").unlink(missing_ok=True)


def write(life: Life) -> dict[str, bytes]:
    """Files that were synced one by one, so that they are in the log, and nowhere else."""
    made = {f"file-{number}": os.urandom(5000) for number in range(20)}
    for name, data in made.items():
        with (life.target / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    return made


@pytest.mark.parametrize("pool", FILESYSTEMS)
@pytest.mark.parametrize("fs", FILESYSTEMS)
def test_a_volume_is_read_by_hand_after_a_crash(node: Node, pool: str, fs: str) -> None:
    served = serve(node, pool, 1024 * MIB, ",allocation=sparse")
    life = served.life(served.csi.create("v", 320 * MIB, fs=fs).volume_id, fs=fs)
    life.up()
    made = write(life)
    copy = node.copy(served.disk)
    life.down()
    copy.mount()
    found = read(copy, life.volume_id, node.base / "by-hand")
    assert made.items() <= found.items()


def test_a_snapshot_of_an_xfs_in_use_is_read_by_hand(node: Node) -> None:
    served = serve(node, "xfs", 1024 * MIB, ",allocation=sparse")
    life = served.life(served.csi.create("v", 320 * MIB, fs="xfs").volume_id, fs="xfs")
    life.up()
    made = write(life)
    snapshot = served.csi.snapshot("s", life.volume_id)
    found = read(served.disk, snapshot.snapshot_id, node.base / "by-hand", "-o nouuid")
    assert made.items() <= found.items()
    life.down()
