"""Volume capabilities."""

from __future__ import annotations

import pytest

from csi_proto import csi_pb2 as csi
from driver.core.errors import Invalid
from driver.core.model import AccessMode, FsType
from driver.csi import capability
from driver.volumes.requests import Capability

Mode = csi.VolumeCapability.AccessMode


def mount(
    fs: str = "", mode: str = "SINGLE_NODE_WRITER", flags: tuple[str, ...] = (), group: str = ""
) -> csi.VolumeCapability:
    how = csi.VolumeCapability.MountVolume(fs_type=fs, mount_flags=flags, volume_mount_group=group)
    return csi.VolumeCapability(mount=how, access_mode=Mode(mode=Mode.Mode.Value(mode)))


def block(mode: str = "SINGLE_NODE_WRITER") -> csi.VolumeCapability:
    return csi.VolumeCapability(
        block=csi.VolumeCapability.BlockVolume(), access_mode=Mode(mode=Mode.Mode.Value(mode))
    )


@pytest.mark.parametrize(
    "mode",
    [f"SINGLE_NODE_{kind}" for kind in ("WRITER", "READER_ONLY", "SINGLE_WRITER", "MULTI_WRITER")],
)
def test_every_mode_of_one_node_is_accepted(mode: str) -> None:
    assert capability.parse(mount(mode=mode)).mode.value == mode
    assert capability.parse(block(mode=mode)) == Capability(AccessMode(mode), block=True)


@pytest.mark.parametrize(
    ("mode", "claimed"),
    [
        ("MULTI_NODE_READER_ONLY", r" \(ReadOnlyMany in a PersistentVolumeClaim\)"),
        ("MULTI_NODE_SINGLE_WRITER", ""),  # Kubernetes has no word for it
        ("MULTI_NODE_MULTI_WRITER", r" \(ReadWriteMany in a PersistentVolumeClaim\)"),
    ],
)
def test_a_mode_of_many_nodes_is_refused_and_why(mode: str, claimed: str) -> None:
    with pytest.raises(Invalid, match=f"access_mode.mode: {mode}{claimed} is not .* on one node"):
        capability.parse(mount(mode=mode))
    with pytest.raises(Invalid, match="ReadWriteOnce or ReadWriteOncePod"):
        capability.parse(block(mode=mode))


def test_a_mode_of_a_later_csi_is_refused_by_its_number() -> None:
    request = mount()
    request.access_mode.MergeFromString(b"\x08\x63")
    with pytest.raises(Invalid, match="99 is not supported"):
        capability.parse(request)


def test_mount_flags_come_one_by_one() -> None:
    capability_ = capability.parse(mount("xfs", flags=("noatime,nodev", "ro")))
    assert capability_ == Capability(
        AccessMode.SINGLE_NODE_WRITER, False, FsType.XFS, ("noatime", "nodev", "ro")
    )


def test_what_the_driver_does_not_have_is_named() -> None:
    with pytest.raises(Invalid, match="volume_mount_group"):
        capability.parse(mount(group="1000"))
    with pytest.raises(Invalid, match="fs_type: 'zfs' is not one of ext4, xfs, btrfs"):
        capability.parse(mount("zfs"))


def test_several_capabilities_must_be_of_one_volume() -> None:
    both = capability.parse_all([mount(), block()])
    with pytest.raises(Invalid, match="either block or mount"):
        capability.agreed(both, None)
    two = capability.parse_all([mount("xfs"), mount("ext4")])
    with pytest.raises(Invalid, match="not ext4 and xfs"):
        capability.agreed(two, None)
    with pytest.raises(Invalid, match="not btrfs and xfs"):
        capability.agreed(capability.parse_all([mount("xfs")]), FsType.BTRFS)


def test_the_filesystem_is_the_one_that_is_named_anywhere() -> None:
    assert capability.agreed(capability.parse_all([mount(), mount("xfs")]), None) is FsType.XFS
    assert capability.agreed(capability.parse_all([mount()]), FsType.BTRFS) is FsType.BTRFS
    assert capability.agreed(capability.parse_all([mount()]), None) is None


def test_a_class_for_both_kinds_serves_block_volumes_too() -> None:
    assert capability.agreed(capability.parse_all([block()]), FsType.XFS) is None
