"""Writes attributes in /sys, even where /sys itself is mounted read-only.

containerd before 2.0 gives even a privileged container a read-only /sys: the pod's first container
mounted that superblock read-only (containerd issue 8445), and it is not remounted here, because the
whole pod uses it. Each network namespace has its own superblock of sysfs, and all of them show the
same devices, which are in no namespace. So a sysfs of a new network namespace is writable. It is
mounted nowhere, and exists as long as its descriptor is open.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from driver.core.errors import Refused
from driver.linux.mounts import fsopen

ROOT: Final = Path("/sys")
CURE: Final = "in a container mount the machine's /sys at /sys, for writing, as the chart does"
_CLONE_NEWNET: Final = 0x40000000  # <linux/sched.h>

_libc: Final = ctypes.CDLL(None, use_errno=True)
_making: Final = threading.Lock()


def write(attribute: Path, value: bytes) -> None:
    """Write `value` to the file `attribute` below /sys, which sets a property of a device.

    Raises: Refused, if this process cannot write to any sysfs; OSError, if the kernel refuses the
    value.
    """
    try:
        _write(os.open(attribute, os.O_WRONLY | os.O_CLOEXEC), value)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        inside = os.fspath(attribute.relative_to(ROOT))
        _write(os.open(inside, os.O_WRONLY | os.O_CLOEXEC, dir_fd=_own_root(attribute)), value)


def is_read_only() -> bool:
    """Return whether /sys is mounted read-only in this process's mount namespace. Raises:
    OSError.
    """
    return bool(os.statvfs(ROOT).f_flag & os.ST_RDONLY)


def find_problem() -> str | None:
    """Return why no attribute of devices can be written below /sys on this machine, and what to do;
    None: attributes can be written.
    """
    try:
        if is_read_only():
            _own_root(ROOT)
    except Refused as error:
        return str(error)
    return None


def _write(fd: int, value: bytes) -> None:
    try:
        os.write(fd, value)
    finally:
        os.close(fd)


def _own_root(attribute: Path) -> int:
    """Return a descriptor of the root of our own sysfs, the same one at every call.

    `attribute`: for the text of the error. Raises: Refused, if none can be made.
    """
    try:
        with _making:
            return _make_root()
    except OSError as error:
        text = f"{attribute} cannot be written: /sys is read-only, and a sysfs of its own"
        raise Refused(f"{text} was refused ({error.strerror}); {CURE}") from error


@cache
def _make_root() -> int:
    """Make our own sysfs, and return a descriptor of its root. Raises: OSError.

    In a thread that ends here: unshare(2) changes only the calling thread.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="sysfs") as executor:
        return executor.submit(_mount_in_new_namespace).result()


def _mount_in_new_namespace() -> int:
    """Move this thread to a new network namespace, and return the root of a sysfs of it.

    Raises: OSError.
    """
    if _libc.unshare(_CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fsopen.mount_detached("sysfs")
