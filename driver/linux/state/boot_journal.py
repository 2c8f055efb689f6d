"""Records that are valid for one boot of the machine: FOLDER/<boot id>.journal, a line for each
change.

{"key": ..., "record": {...}} sets a record, {"key": ..., "record": null} removes it; the last line
of a key wins. Nothing is synced: a change, one write(2) to the page cache, survives the end of the
process, and after a power cut the boot, and so the records, are over. A truncated line is skipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from loguru import logger

from driver.linux.descriptors import ClosedOnError

_SUFFIX: Final = ".journal"
_LEAST: Final = 1 << 20  # bytes; a shorter journal is not compacted
_FACTOR: Final = 4  # how much longer than just after the last compaction a journal may become


class BootJournal:
    """Stores records that are dropped at a reboot in one file, to which changes are appended
    (implements Storage).

    `folder`: its directory, created at the first write, when files of earlier boots in it are
    removed. `boot`: the id of this boot of the machine.
    """

    def __init__(self, folder: Path, boot: str) -> None:
        self.folder = folder
        self._path = folder / f"{boot}{_SUFFIX}"
        self._fd = -1
        self._longest = _LEAST  # bytes; then it is compacted
        self._whole = False  # whether it is known to end with a whole line

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self) -> dict[str, Mapping[str, str]]:
        """Return all records of the file, by the key under which each is stored. Raises:
        OSError.
        """
        try:
            return _replay(self._path.read_bytes(), self._path)
        except FileNotFoundError:
            return {}

    def write(self, changes: Mapping[str, Mapping[str, str] | None]) -> None:
        """Append `changes` to the file: the new record of each key, or None, which removes the
        record. Raises: OSError.

        After an error some of the changes may have been written; the caller may write all of them
        again.
        """
        status = os.fstat(self._fd) if self._fd >= 0 else None
        if status is None or not status.st_nlink:  # somebody has removed the file
            self._open()
            status = os.fstat(self._fd)
        whole, self._whole = self._whole, False
        size = _append(self._fd, _lines(changes.items()), status.st_size, whole=whole)
        self._whole = True
        if size > self._longest:
            self._compact()

    def _open(self) -> None:
        """Open the journal, or make one, and remove all others. Raises: OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._fd >= 0 and not self._path.exists():
            self._compact()  # the records are in the removed file
            return
        self._replace(_opened(self._path))
        self._whole = False
        for name in os.listdir(self.folder):
            if name != self._path.name:
                with suppress(OSError):
                    os.unlink(self.folder / name)

    def _compact(self) -> None:
        """Replace the journal by one without removed and replaced records. Raises: OSError."""
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        beside = Path(f"{self._path}.tmp")
        with suppress(FileNotFoundError):
            os.unlink(beside)
        fd = _opened(beside)
        with ClosedOnError(fd):
            size = _append(fd, _lines(_replay(data, self._path).items()), 0, whole=True)
            os.rename(beside, self._path)
        self._replace(fd)
        self._longest = max(_LEAST, _FACTOR * size)

    def _replace(self, fd: int) -> None:
        """Append to the file of `fd` from now on."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd


def _opened(path: Path) -> int:
    """Return a descriptor that appends to a file, which is made if need be. Raises: OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _append(fd: int, data: bytes, former: int, *, whole: bool) -> int:
    """Append lines to a file of `former` bytes, and return its new size in bytes.

    `whole`: its last line is known to be whole. Raises: OSError, and the file has its former size
    then, if that is possible.
    """
    if former and not whole and os.pread(fd, 1, former - 1) != b"\n":  # its process was killed
        data = b"\n" + data
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(fd, former)
        raise
    return former + len(data)


def _lines(changes: Iterable[tuple[str, Mapping[str, str] | None]]) -> bytes:
    return "".join(
        json.dumps({"key": key, "record": record}) + "\n" for key, record in changes
    ).encode()


def _replay(data: bytes, path: Path) -> dict[str, Mapping[str, str]]:
    """Return the records that the lines of a journal leave; `path` is for the log only."""
    records = dict[str, Mapping[str, str]]()
    for line in filter(None, data.split(b"\n")):
        try:
            change = json.loads(line)
            key, record = str(change["key"]), change["record"]
            if record is None:
                records.pop(key, None)
            else:
                records[key] = {str(name): str(value) for name, value in record.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("{} has a line that is damaged; it was skipped", path)
    return records
