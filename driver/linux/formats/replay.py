"""Replays the log of a filesystem by opening and closing it without a mount point."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from driver.core.model import Bytes, FsType
from driver.linux.devices import loop, loop_attach
from driver.linux.mounts import fsopen

# What must not happen meanwhile: ext4 would begin to write its inode tables, btrfs to discard; the
# copy of an xfs has the UUID of its source, which may be mounted.
_OPTIONS: Final = {
    FsType.EXT4: ("noinit_itable",),
    FsType.XFS: ("nouuid",),
    FsType.BTRFS: ("nodiscard",),
}
_DETACH_TIMEOUT: Final = 10.0  # seconds


def replay(path: Path, fs: FsType, *, block_size: Bytes) -> None:
    """Open the filesystem of an image or a device for writing, and close it again, so that its log
    is replayed. Raises: OSError.

    `block_size`: of the loop device for an image, in bytes. The filesystem is mounted nowhere, so
    if the process is killed at most a loop device is left. The loop device permits discards, but
    none are made without the mount option.
    """
    device = loop_attach.attach(
        path, label="", block_size=block_size, read_only=False, discards=True
    )
    try:
        fsopen.replay(device.path, fs, _OPTIONS[fs])
    finally:
        _detach(device)


def _detach(device: loop.Status) -> None:
    """Detach the loop device. Raises: OSError, and the kernel detaches it when it is closed.

    A child that another thread starts holds the filesystem open until its exec: see `loop`.
    What cannot be detached must not keep a deleted image for ever.
    """
    try:
        loop.detach(device, bound=_DETACH_TIMEOUT, busy_timeout=_DETACH_TIMEOUT)
    except OSError:
        loop.detach_when_closed(device)
        raise
