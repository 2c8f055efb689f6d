"""Parses VolumeCapability messages: access mode, access type, filesystem, mount flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.core.errors import Invalid
from driver.core.model import AccessMode, FsType
from driver.core.options import mount_options
from driver.volumes.requests import Capability

_MODES: Final = {
    getattr(csi.VolumeCapability.AccessMode, mode.value): mode
    for mode in AccessMode
    if mode
    not in {
        AccessMode.MULTI_NODE_READER_ONLY,
        AccessMode.MULTI_NODE_SINGLE_WRITER,
        AccessMode.MULTI_NODE_MULTI_WRITER,
    }  # not these: a volume is on one node
}

# The accessModes of a PersistentVolumeClaim that the sidecars translate into these.
_CLAIM_MODES: Final = {
    "MULTI_NODE_READER_ONLY": "ReadOnlyMany",
    "MULTI_NODE_MULTI_WRITER": "ReadWriteMany",
}


def parse(message: csi.VolumeCapability, field: str = "volume_capability") -> Capability:
    """Return the capability in a VolumeCapability message.

    `field`: the name of the message's field, for errors. Raises: Invalid, whose text says what is
    not supported, such as an access mode, and what is.
    """
    mode = _mode(message.access_mode.mode, f"{field}.access_mode.mode")
    if message.WhichOneof("access_type") == "block":
        return Capability(mode, block=True)
    mount = message.mount
    if mount.volume_mount_group:
        raise Invalid(f"{field}.mount.volume_mount_group is not supported by this driver")
    fs = filesystem(mount.fs_type, f"{field}.mount.fs_type")
    options = mount_options.parse(mount.mount_flags, fs)
    return Capability(mode, block=False, fs=fs, options=options)


def parse_all(messages: Iterable[csi.VolumeCapability]) -> tuple[Capability, ...]:
    """Return the capabilities in VolumeCapability messages. Raises: Invalid, whose text says what
    is not supported, such as an access mode, and what is.
    """
    return tuple(parse(message, "volume_capabilities[]") for message in messages)


def agreed(capabilities: Sequence[Capability], class_fs: FsType | None) -> FsType | None:
    """Return the filesystem that the volume's capabilities or its StorageClass (`class_fs`) name.

    None: the volume is a raw block volume, or neither names a filesystem. Raises: Invalid if they
    name different ones.
    """
    if len({capability.block for capability in capabilities}) > 1:
        raise Invalid("volume_capabilities: a volume is either block or mount, not both")
    if any(capability.block for capability in capabilities):
        return None
    named = {capability.fs for capability in capabilities if capability.fs}
    if class_fs:
        named.add(class_fs)
    if len(named) > 1:
        raise Invalid(f"fs_type: a volume has one filesystem, not {' and '.join(sorted(named))}")
    return named.pop() if named else None


def filesystem(name: str, field: str) -> FsType | None:
    """Return the filesystem type with this name, or None if `name` is empty.

    `field`: the name of the request's field, for errors. Raises: Invalid if it is not supported.
    """
    if not name:
        return None
    try:
        return FsType(name)
    except ValueError:
        raise Invalid(f"{field}: {name!r} is not one of {', '.join(FsType)}") from None


def _mode(number: int, field: str) -> AccessMode:
    if number not in _MODES:
        name = _mode_name(number)
        claim_mode = (
            f" ({_CLAIM_MODES[name]} in a PersistentVolumeClaim)" if name in _CLAIM_MODES else ""
        )
        raise Invalid(
            f"{field}: {name}{claim_mode} is not supported: a volume is on one node; use"
            f" ReadWriteOnce or ReadWriteOncePod in a claim; accepted here are"
            f" {', '.join(_MODES.values())}"
        )
    return _MODES[number]


def _mode_name(number: int) -> str:
    """Return the name of an access mode, or its number: proto3 accepts numbers that CSI does not
    have.
    """
    modes = csi.VolumeCapability.AccessMode.Mode
    return modes.Name(modes.ValueType(number)) if number in modes.values() else str(number)
