"""Converts an errno of mount(2) to an error that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from driver.core import errnos
from driver.core.devices import Device
from driver.core.errors import CellarError, Invalid, Refused, Unusable
from driver.core.model import FsType
from driver.linux.formats import sparse_space
from driver.linux.mounts import fsopen, mount


def not_mounted(device: Device, fs: FsType, options: Sequence[str], error: OSError) -> CellarError:
    """Return the error to be raised because mount(2) of `device` failed with `error`. The text
    refers to the kernel's log.

    `options`: the requested mount options. Raises: OSError, if it cannot be found out which option
    the kernel refuses.
    """
    return _not_mounted_in_full_pool(device, fs, error) or _not_mounted(device, fs, options, error)


def _not_mounted(device: Device, fs: FsType, options: Sequence[str], error: OSError) -> CellarError:
    """Return the error if the pool is not full."""
    text = f"{fs} on {device.path} could not be mounted"
    _, data = mount.split_options(options)
    match error.errno:
        case errno.EINVAL if data:
            refused = fsopen.refused_option(fs, data) or ",".join(data)
            return Invalid(f"mount_flags: the kernel does not accept {refused!r} for {fs}")
        case errno.EINVAL | errno.ENODEV:
            return Refused(f"{text}: this kernel cannot ({error.strerror}); see its log")
        case errno.EUCLEAN | errno.EBADMSG | errno.EIO:
            return Refused(f"{text}: it is damaged ({error.strerror}); see the kernel log")
        case errno.EROFS | errno.EACCES:
            return Refused(f"{text}: the device is read-only; its log may need a writable one once")
        case errno.EBUSY:
            return Refused(f"{text}: it is in use, or mounted with another read-only flag")
    return errnos.failure(text, error)


def _not_mounted_in_full_pool(device: Device, fs: FsType, error: OSError) -> Unusable | None:
    """Return the error if the mount failed because the log could not be written in a full pool.

    None: it failed for another reason.
    """
    if error.errno == errno.ENOSPC or (
        error.errno == errno.EIO and sparse_space.is_full(device.path)
    ):
        return Unusable(
            f"{fs} on {device.path} could not be mounted: it must write its log, and its pool is"
            f" full ({error.strerror}); free space there, and try again: it is not damaged"
        )
    return None
