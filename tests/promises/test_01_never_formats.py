"""Promise 1: data is never formatted, whatever a probe says."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_proto import csi_pb2 as pb
from tests.promises.conftest import Served
from tests.support.client import capability, digest, refused
from tests.support.disks import MIB, run
from tests.support.node import Life, Node, image_of

SIZES = {"ext4": 16 * MIB, "xfs": 300 * MIB, "btrfs": 256 * MIB}
WITHOUT_A_WAY_OUT = ("FAILED_PRECONDITION", "DATA_LOSS", "INTERNAL")


def _used(served: Served, fs: str, name: str) -> Life:
    """A volume that was used by a pod, and is at rest again."""
    volume = served.csi.create(name, SIZES[fs], fs=fs)
    life = served.life(volume.volume_id, fs=fs)
    life.up()
    life.write()
    life.down()
    return life


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_a_wiped_header_is_an_error_and_nothing_is_written(one: Served, fs: str) -> None:
    life = _used(one, fs, f"wiped-{fs}")
    image = image_of(one.disk, life.volume_id, SIZES[fs])
    with image.open("r+b") as file:
        file.write(bytes(MIB))  # the superblocks of all three lie in the first MiB
        if fs == "btrfs":
            file.seek(64 * MIB)  # its second superblock
            file.write(bytes(4096))
    before = digest(image)
    for _ in range(3):
        with refused(*WITHOUT_A_WAY_OUT):
            life.stage()
    assert digest(image) == before
    assert one.node.mounts() == []
    one.csi.delete(life.volume_id)


def test_another_filesystem_in_the_image_is_an_error_and_nothing_is_written(one: Served) -> None:
    volume = one.csi.create("changed", SIZES["xfs"], fs="ext4")
    image = image_of(one.disk, volume.volume_id, SIZES["xfs"])
    run("mkfs.xfs", "-q", "-f", "-s", "size=4096", image)
    before = digest(image)
    with refused(*WITHOUT_A_WAY_OUT):
        one.life(volume.volume_id).stage()
    assert digest(image) == before
    one.csi.delete(volume.volume_id)


def test_staging_as_another_filesystem_is_refused_and_nothing_is_written(one: Served) -> None:
    life = _used(one, "ext4", "otherwise")
    image = image_of(one.disk, life.volume_id, SIZES["ext4"])
    before = digest(image)
    with refused("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
        one.csi.stage(life.volume_id, life.staging, fs="xfs")
    assert digest(image) == before
    one.csi.delete(life.volume_id)


def test_a_volume_that_was_never_staged_is_not_formatted_at_its_first_stage(one: Served) -> None:
    volume = one.csi.create("first", SIZES["ext4"])
    image = image_of(one.disk, volume.volume_id, SIZES["ext4"])
    with image.open("r+b") as file:
        file.write(bytes(MIB))
    before = digest(image)
    with refused(*WITHOUT_A_WAY_OUT):
        one.life(volume.volume_id).stage()
    assert digest(image) == before
    one.csi.delete(volume.volume_id)


@pytest.mark.parametrize("fault", ["exit 2", "exec sleep 60"])
def test_programs_on_the_path_that_find_nothing_or_hang_do_not_matter(
    node: Node, fault: str
) -> None:
    fakes = node.base / "bin"
    fakes.mkdir()
    names = (
        "blkid lsblk wipefs mkfs mkfs.ext4 mkfs.xfs mkfs.btrfs mke2fs e2fsck losetup mount umount"
    )
    for name in names.split():
        (fakes / name).write_text(f"#!/bin/sh\n{fault}\n")
        (fakes / name).chmod(0o755)
    disk = node.disk("xfs")
    path = f"{fakes}:/usr/sbin:/usr/bin:/sbin:/bin"
    csi = node.start(f"p=loopfile:{disk.where}", environment={"PATH": path})
    life = node.life(csi, csi.create("v").volume_id)
    life.up()
    written = life.write()
    life.down()
    life.up()
    assert life.read() == written
    life.down()
    csi.delete(life.volume_id)


def test_validation_confirms_only_what_the_volume_is(one: Served) -> None:
    volume = one.csi.create("plain", SIZES["ext4"])
    for wanted, fits in [
        (capability("ext4"), True),
        (capability("xfs"), False),
        (capability(block=True), False),
    ]:
        request = pb.ValidateVolumeCapabilitiesRequest(
            volume_id=volume.volume_id, volume_capabilities=[wanted]
        )
        answer = one.csi.controller.ValidateVolumeCapabilities(request, timeout=10)
        assert answer.HasField("confirmed") is fits
        assert fits or answer.message
    one.csi.delete(volume.volume_id)


def test_an_image_that_is_shorter_than_recorded_is_not_repaired(
    one: Served, tmp_path: Path
) -> None:
    """The image is shorter than recorded, as a torn restore leaves it."""
    life = _used(one, "ext4", "short")
    image = image_of(one.disk, life.volume_id, SIZES["ext4"])
    kept = tmp_path / "kept"
    kept.write_bytes(image.read_bytes())
    with image.open("r+b") as file:
        file.truncate(8 * MIB)
    before = digest(image)
    with refused(*WITHOUT_A_WAY_OUT):
        life.stage()
    assert digest(image) == before
    image.write_bytes(kept.read_bytes())
    life.up()
    assert life.read()
    life.down()
    one.csi.delete(life.volume_id)
