"""Promise 10: what a thick volume was promised is there, whatever else happens in the pool."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.conftest import Served, serve
from tests.support.client import of_snapshot, of_volume, outcome, refused
from tests.support.disks import MIB, complaint, run
from tests.support.node import Life, Node, image_of
from tests.support.waiting import wait_until

# containerd before 2.0 gives privileged containers such a /sys.
READ_ONLY_SYS = (
    *("unshare", "--net", "--mount", "--propagation", "unchanged"),
    *("sh", "-c", 'mount -t sysfs -o ro sysfs /sys && exec "$@"', "sh"),
)
THICK = {"allocation": "thick"}
SPARSE = {"allocation": "sparse"}


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def fill(directory: Path) -> None:
    """Every last byte of a filesystem, by somebody who is not the driver."""
    for size in (MIB, 4096):
        try:
            with (directory / f"filler{size}").open("wb", buffering=0) as file:
                while True:
                    file.write(os.urandom(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    run("sync", "--file-system", directory)


def overwrite(device: Path, size: int) -> None:
    """Every byte, straight to the device; ENOSPC or EIO below would show here."""
    descriptor = os.open(device, os.O_WRONLY | os.O_SYNC)
    try:
        for start in range(0, size, MIB):
            os.pwrite(descriptor, os.urandom(min(MIB, size - start)), start)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _block(served: Served, name: str, size: int, **how: object) -> Life:
    volume = served.csi.create_patiently(name, size, block=True, parameters=THICK, **how)
    return served.life(volume.volume_id, block=True)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_full_pool_takes_every_byte_of_every_thick_volume_with_snapshots_present(
    node: Node, fs: str
) -> None:
    served = serve(node, fs, 448 * MIB)
    size = 24 * MIB
    lives = [_block(served, f"v{number}", size) for number in range(2)]
    for life in lives:
        life.up()
        overwrite(life.target, size)
        if fs == "ext4":
            life.unpublish()
            life.unstage()
        snapshot = served.csi.snapshot(f"s{life.volume_id}", life.volume_id).snapshot_id
        restored = _block(served, f"r{life.volume_id}", size, source=of_snapshot(snapshot))
        restored.up()
        lives = [*lives, restored]
        life.up()
    cloned = _block(served, "clone", size, source=of_volume(lives[0].volume_id))
    cloned.up()
    for number in range(99):
        code = outcome(lambda n=number: served.csi.create(f"f{n}", 24 * MIB, parameters=THICK))  # type: ignore[misc]
        if code != "OK":
            break
    assert code == "RESOURCE_EXHAUSTED"
    while outcome(lambda: _snap(served, lives[0])) == "OK":
        pass
    for life in [*lives, cloned]:
        overwrite(life.target, size)
    for life in [*lives, cloned]:
        overwrite(life.target, size)
        life.down()


def _snap(served: Served, life: Life) -> None:
    served.csi.snapshot(f"more{len(served.csi.snapshots())}", life.volume_id)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_disk_that_others_filled_takes_every_byte_of_a_thick_volume(node: Node, fs: str) -> None:
    """The pool shares its disk: thick bytes are allocated, not only counted."""
    served = serve(node, fs, 400 * MIB)
    size = 64 * MIB
    life = _block(served, "v", size)
    life.up()
    fill(served.disk.where)
    overwrite(life.target, size)
    overwrite(life.target, size)
    life.down()


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_thick_filesystem_on_a_full_disk_can_be_filled(node: Node, fs: str) -> None:
    served = serve(node, fs, 400 * MIB)
    volume = served.csi.create("v", 64 * MIB, parameters=THICK)
    life = served.life(volume.volume_id)
    life.up()
    fill(served.disk.where)
    fill(life.target)
    # ext4 may give a few reserved blocks back when it has written what was delayed.
    assert os.statvfs(life.target).f_bavail * 4096 < MIB
    life.down()
    life.up()
    assert (life.target / f"filler{MIB}").stat().st_size > 32 * MIB
    life.down()


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_thick_is_allocated_after_mkfs_and_after_discard(each: Served, fs: str) -> None:
    size = {"ext4": 64, "xfs": 300, "btrfs": 256}[fs] * MIB
    volume = each.csi.create("thick", size, fs=fs, parameters=THICK)
    image = image_of(each.disk, volume.volume_id, size)
    assert allocated(image) >= size
    life = each.life(volume.volume_id, fs=fs)
    life.up()
    life.write(size=8 * MIB)
    (life.target / "data").unlink()
    run("sync", "--file-system", life.target)
    said = complaint("fstrim", life.target)
    assert not said or "not supported" in said
    assert allocated(image) >= size
    life.down()
    assert allocated(image) >= size
    each.csi.delete(life.volume_id)


def test_a_thick_block_volume_does_not_take_a_discard(each: Served) -> None:
    volume = each.csi.create("thick", 16 * MIB, block=True, parameters=THICK)
    image = image_of(each.disk, volume.volume_id, 16 * MIB)
    life = each.life(volume.volume_id, block=True)
    life.up()
    overwrite(life.target, 16 * MIB)
    for words in (("blkdiscard", "-f"), ("blkdiscard", "-f", "--zeroout")):
        said = complaint(*words, life.target)
        assert not said or "not supported" in said or "not permitted" in said
        run("sync", life.target)  # not all of the machine: a filesystem of others may be frozen
        assert allocated(image) >= 16 * MIB
    life.down()
    each.csi.delete(life.volume_id)


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_sparse_gives_space_back_on_discard(each: Served, fs: str) -> None:
    size = {"ext4": 128, "xfs": 300}[fs] * MIB
    volume = each.csi.create("sparse", size, fs=fs, parameters=SPARSE)
    image = image_of(each.disk, volume.volume_id, size)
    life = each.life(volume.volume_id, fs=fs)
    life.up()
    life.write(size=48 * MIB)
    full = allocated(image)
    assert full > 48 * MIB
    (life.target / "data").unlink()
    wait_until(lambda: _trimmed(life.target, image) < full - 40 * MIB)  # xfs frees by and by
    life.down()
    each.csi.delete(life.volume_id)


def _trimmed(target: Path, image: Path) -> int:
    run("sync", "--file-system", target)
    run("fstrim", target)
    return allocated(image)


def test_a_sparse_volume_costs_what_was_written(each: Served) -> None:
    volume = each.csi.create("sparse", 256 * MIB, parameters=SPARSE)
    assert allocated(image_of(each.disk, volume.volume_id, 256 * MIB)) < 24 * MIB
    each.csi.delete(volume.volume_id)


def test_a_thick_clone_is_allocated_in_its_holes_too(each: Served) -> None:
    sparse = each.csi.create("sparse", 64 * MIB, parameters=SPARSE)
    clone = each.csi.create_patiently(
        "clone", 64 * MIB, parameters=THICK, source=of_volume(sparse.volume_id)
    )
    assert allocated(image_of(each.disk, clone.volume_id, 64 * MIB)) >= 64 * MIB
    each.csi.delete(clone.volume_id)
    each.csi.delete(sparse.volume_id)


@pytest.mark.parametrize("fs", ["xfs", "btrfs"])
def test_a_snapshot_of_a_thick_volume_charges_what_overwriting_may_cost(
    node: Node, fs: str
) -> None:
    served = serve(node, fs, 400 * MIB)
    size = 128 * MIB
    life = _block(served, "v", size)
    life.up()
    overwrite(life.target, size)
    before = served.csi.capacity(parameters=THICK).available_capacity
    snapshot = served.csi.snapshot("s", life.volume_id).snapshot_id
    charged = before - served.csi.capacity(parameters=THICK).available_capacity
    assert charged > 0.9 * size
    with refused("RESOURCE_EXHAUSTED"):
        served.csi.snapshot("t", life.volume_id)
        served.csi.snapshot("u", life.volume_id)
    overwrite(life.target, size)
    life.down()
    served.csi.delete_snapshot(snapshot)


def test_images_on_btrfs_are_not_copied_on_write(node: Node) -> None:
    served = serve(node, "btrfs")
    volume = served.csi.create("v", 16 * MIB, parameters=THICK)
    image = image_of(served.disk, volume.volume_id, 16 * MIB)
    assert "C" in run("lsattr", image).split()[0]


@pytest.fixture
def fresh_devices(tmp_path: Path) -> Iterator[None]:
    """Free loop devices never had their discards off: all others are taken for a while."""
    taken = []
    for number, limit in enumerate(Path("/sys/block").glob("loop*/queue/discard_max_bytes")):
        device, image = Path("/dev", limit.parts[3]), tmp_path / f"{number}.img"
        image.write_bytes(bytes(MIB))
        words = ("losetup", device, image)
        if not (limit.parents[1] / "loop").exists() and limit.read_text().strip() == "0":
            taken += [device] if not subprocess.run(words, check=False).returncode else []
    yield
    for device in taken:
        run("losetup", "--detach", device)


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_thick_volume_is_thick_on_a_fresh_device_where_sys_is_read_only(
    node: Node, fresh_devices: None, fs: str
) -> None:
    disk = node.disk("xfs", 768 * MIB)
    csi = node.start(f"p=loopfile:{disk.where}", wrapper=READ_ONLY_SYS)
    volume = csi.create("v", 320 * MIB, parameters=THICK, fs=fs)
    life = node.life(csi, volume.volume_id, fs=fs)
    life.up()
    image = image_of(disk, volume.volume_id, 320 * MIB)
    before = allocated(image)
    complaint("fstrim", life.target)
    assert allocated(image) == before >= 320 * MIB
    life.down()
    csi.delete(volume.volume_id)
