"""Ids and messages that the tests of parsing have in common."""

from __future__ import annotations

from csi_proto import csi_pb2 as csi
from driver.core.ids import VolumeId

V = VolumeId("0123456789ab", "0" * 32)
MOUNT = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)
BLOCK = csi.VolumeCapability(
    block=csi.VolumeCapability.BlockVolume(), access_mode=MOUNT.access_mode
)
