"""Creates and removes the last component of a target path. Its parent directories are never
changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from driver.core.errors import Refused


def make_directory(target: Path, undo: ExitStack) -> bool:
    """Create a directory, which `undo` removes again, and return True; False if it exists.

    Raises: Refused, if something else exists at `target`, or the parent is missing; OSError.
    """
    is_new = _is_newly_made(lambda: os.mkdir(target, 0o750), target)
    if is_new:
        undo.callback(_quietly, os.rmdir, target)
    elif not stat.S_ISDIR(os.lstat(target).st_mode):
        raise Refused(f"{target} is in the way: it is not a directory")
    return is_new


def make_file(target: Path, undo: ExitStack) -> None:
    """Create an empty file to which a device node can be bound, and which `undo` removes again;
    no-op if it exists.

    Raises: Refused, if something else exists at `target`, or the parent is missing; OSError.
    """
    if _is_newly_made(lambda: os.mknod(target, stat.S_IFREG | 0o600), target):
        undo.callback(_quietly, os.unlink, target)
    elif not stat.S_ISREG(os.lstat(target).st_mode):
        raise Refused(f"{target} is in the way: it is not a regular file")


def refuse_filled(target: Path) -> None:
    """Check that the directory `target` is empty, because otherwise it could not be removed after
    an unmount.

    Raises: Refused, if it is not empty; OSError.
    """
    with os.scandir(target) as entries:
        if entry := next(entries, None):
            raise Refused(f"{target} is in the way: there is {entry.name!r} in it")


def try_removing_directory(target: Path) -> bool:
    """Remove an empty directory. Returns False, and nothing was removed, if `target` is a mount
    point, whose filesystem is not accessed, is not empty, or is no directory.
    """
    try:
        os.rmdir(target)
    except OSError:
        return False
    return True


def remove(target: Path) -> None:
    """Remove the empty directory or empty file `target` that was created as a mount point.

    Raises: Refused, if it is something else, or a file with contents; OSError.
    """
    status = os.lstat(target)
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(target)
    elif not stat.S_ISREG(status.st_mode):
        raise Refused(f"{target} is neither a directory nor a file; nothing was removed")
    elif status.st_size:
        raise Refused(f"{target} is a file with {status.st_size} bytes in it; nothing was removed")
    else:
        os.unlink(target)


def _is_newly_made(make: Callable[[], None], target: Path) -> bool:
    """Call `make`; return False if something is there already.

    Raises: Refused, if the parent is missing; OSError.
    """
    try:
        make()
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise Refused(f"{target.parent} does not exist; the caller must create it") from None
    return True


def _quietly(undo: Callable[[Path], None], target: Path) -> None:
    with suppress(OSError):
        undo(target)
