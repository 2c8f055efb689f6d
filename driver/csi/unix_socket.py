"""The file of a Unix socket: a stale one is removed, its mode is private, and its end."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from driver.core.errors import Refused

MODE: Final = 0o660
_CONNECT_TIMEOUT: Final = 1.0  # seconds; a process with a full backlog does not accept


def remove_stale_socket(path: Path) -> None:
    """Remove a socket that a process left when it ended, and create the folder if it is missing.

    Raises: Refused if a process listens on it, or `path` is not a socket.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise Refused(
            f"{path} exists and is not a socket; move it away or choose another --endpoint"
        )
    if _answers(path):
        raise Refused(f"another process listens on {path}; stop it or choose another --endpoint")
    path.unlink()


@contextmanager
def private_mode() -> Iterator[None]:
    """Set the umask so that a socket bound inside is for owner and group only from the start."""
    before = os.umask(0o777 & ~MODE)
    try:
        yield
    finally:
        os.umask(before)


def identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the socket at `path`, or None if there is none."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        return status.st_dev, status.st_ino
    return None


def remove(path: Path, ours: tuple[int, int] | None) -> None:
    """Remove the socket if its `identity` is still `ours`: a successor may have replaced it."""
    if ours is not None and identity(path) == ours:
        path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True
        return True
