"""Unmounts a filesystem that may be busy: with retries, and an error that names its users."""

from __future__ import annotations

import errno
import time
from itertools import count
from pathlib import Path
from typing import Final

from driver.core import errnos
from driver.core.errors import CellarError, Refused
from driver.linux.mounts import mount, mount_points
from driver.linux.mounts.holders import holders
from driver.linux.mounts.table import mount_table

_TIMEOUT: Final = 0.5  # seconds for which a path lookup may keep a mount busy
_PAUSES: Final = (0.001, 0.004, 0.01, 0.02, 0.04)  # seconds; then holders are sought, too


def unmount_with_retries(target: Path) -> None:
    """Unmount the topmost mount at `target`; while it is busy and no user is found, retry for some
    seconds.

    A path lookup keeps a mount busy for the time of one system call, for example the statfs of a
    monitor; such a user is not found. Raises: Refused, if it stays busy, or a user is found;
    Failed.
    """
    end = time.monotonic() + _TIMEOUT
    for attempt in count():
        try:
            mount.unmount(target)
            return
        except OSError as error:
            patient = error.errno == errno.EBUSY and time.monotonic() < end
            if not patient or (attempt >= len(_PAUSES) and _users(target)):
                raise not_unmounted(target, error) from error
        time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])


def not_unmounted(target: Path, error: OSError) -> CellarError:
    """Return the error to be raised because umount(2) of `target` failed with `error`. The text
    names the users of the mount.
    """
    if error.errno != errno.EBUSY or not mount_table.at(target):
        return errnos.failure(f"{target} could not be unmounted", error)
    users = ", ".join(_users(target)) or "a process that is not visible here"
    return Refused(f"{target} is busy: held by {users}")


def _users(target: Path) -> list[str]:
    """Return who uses the mount at `target`: processes, devices, and mounts below it.

    Empty: nobody who can be seen, or it is no mount point any more.
    """
    if not (layers := mount_table.at(target)):
        return []
    number = mount_points.mount_point(layers[-1]).number
    device = mount_points.device_path(number) if number else target
    mounts = [f"the mount at {each}" for each in mount_table.list_below(layers[-1].target)]
    return [*mounts, *holders(device, number)]
