"""Small records by key in files of their own: what this node knows outside of its pools.

FOLDER/<hash of the key>.json   {"key": ..., "boot": ..., "record": {...}}

What is known is held in memory and written through by a thread: a disk that is full, read-only or
stands still must neither stop a pod from being taken down nor keep a healthy pool from working.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from loguru import logger

from driver.core.ports.records import NodeState
from driver.linux import files

PATIENCE: Final = 1.0  # seconds that a call waits for the disk
IDLE: Final = 2.0  # seconds that the writer waits for more
_SUFFIX: Final = ".json"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")  # random(4)


class FileRecords:
    """Implement core.ports.Records with a file for each record.

    `folder` is made at the first write. `boot`: records with another one are of an earlier boot
    of the machine and are removed; such records need no fsync, since a power cut ends their
    boot too. Empty: the records are kept for ever, and are durable.
    """

    def __init__(self, folder: Path, *, boot: str = "") -> None:
        self._folder = folder
        self._boot = boot
        self._changed = Condition()
        self._known: dict[str, Mapping[str, str]] = {}
        self._unread = True
        self._unwritten: dict[str, Mapping[str, str] | None] = {}  # None: to be removed
        self._writer: Thread | None = None
        self._hurry = False  # somebody waits for the writer
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why records cannot be read or written, or could not in time; "" if they can."""
        return self._problem

    def get(self, key: str) -> Mapping[str, str] | None:
        """Return the record of `key`, from memory, or None.

        None also if the disk could not be read yet.
        """
        with self._changed:
            return self._loaded().get(key)

    def items(self) -> Mapping[str, Mapping[str, str]]:
        """Return a copy of all records by key, from memory."""
        with self._changed:
            return dict(self._loaded())

    def write(self, key: str, record: Mapping[str, str]) -> None:
        """Set the record of `key`, and wait at most PATIENCE seconds until it is written.

        No-op if it is there already. Never fails: a disk that does not take it is reported by
        `problem`, and the record is kept in memory and written later.
        """
        with self._changed:
            if self._loaded().get(key) == record and key not in self._unwritten:
                return
            self._loaded()[key] = dict(record)
            self._submit(key, dict(record))
            if not self._problem and not self._wait(lambda: key not in self._unwritten):
                self._say(OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def remove(self, key: str) -> None:
        """Remove the record of `key`; no-op if there is none. A thread removes the file later."""
        with self._changed:
            if self._loaded().pop(key, None) is not None or self._unread:
                self._submit(key, None)

    def settle(self) -> bool:
        """Wait a moment until everything is on the disk. Returns False if it is not."""
        with self._changed:
            self._wait(lambda: not self._unwritten)
            return not self._unwritten

    # --- reading

    def _loaded(self) -> dict[str, Mapping[str, str]]:
        """Return all records; they are read at the first use, or as soon as the disk answers."""
        if self._unread:
            try:
                found = self._read()
            except OSError as error:
                self._say(error)
            else:
                self._unread = False
                self._known = found | self._known
                for key in [key for key, record in self._unwritten.items() if record is None]:
                    self._known.pop(key, None)
        return self._known

    def _read(self) -> dict[str, Mapping[str, str]]:
        """Read all records. Raises: OSError."""
        found = dict[str, Mapping[str, str]]()
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name.endswith(_SUFFIX):
                    self._read_one(self._folder / name, found)
        return found

    def _read_one(self, path: Path, found: dict[str, Mapping[str, str]]) -> None:
        """Add the record in a file to `found`; have it removed if it is of another boot.

        A damaged one is logged and skipped. Raises: OSError.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # removed since it was listed
            return
        try:
            key, boot, record = _parse(data)
        except (ValueError, KeyError, TypeError, AttributeError):
            key, boot, record = "", "", {}
        if path != self._path(key):
            logger.warning("{} is no record of this node, or damaged; passed over", path)
        elif boot == self._boot:
            found[key] = record
        elif self._boot:
            self._submit(key, None)

    # --- writing

    def _submit(self, key: str, record: Mapping[str, str] | None) -> None:
        """Give the writer a change of `key` (None: remove it); called with the lock.

        Its thread is started if none runs.
        """
        self._unwritten.pop(key, None)  # the order is that of the last word about each key
        self._unwritten[key] = record
        if self._writer is None:
            self._writer = Thread(target=self._write_all, name="records", daemon=True)
            self._writer.start()

    def _wait(self, is_written: Callable[[], bool]) -> bool:
        """Hurry the writer, and wait at most PATIENCE seconds for it.

        False: it is still at work. True: it is written, or the writer has failed and stopped.
        """
        self._hurry = True
        self._changed.notify_all()
        self._changed.wait_for(lambda: is_written() or self._writer is None, PATIENCE)
        return is_written() or self._writer is None

    def _write_all(self) -> None:
        """Write changes until there are none for IDLE seconds; the body of the writer's thread.

        At the first failure the thread ends, and what is unwritten stays for the next change.
        Removals may wait: those of the next IDLE seconds are done with it.
        """
        with self._changed:
            while self._unwritten:
                self._changed.wait_for(lambda: self._hurry, IDLE)
                self._hurry = False
                for key, record in list(self._unwritten.items()):
                    if not self._is_kept(key, record):
                        self._writer = None
                        self._changed.notify_all()
                        return
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._unwritten, IDLE)
            self._writer = None

    def _is_kept(self, key: str, record: Mapping[str, str] | None) -> bool:
        """Write or remove a record; return False if that failed.

        Called with the lock, which is released meanwhile.
        """
        error: OSError | None = None
        self._changed.release()
        try:
            self._write(key, record)
        except OSError as failed:
            error = failed
        finally:
            self._changed.acquire()
        self._say(error)
        if error is None and self._unwritten.get(key) is record:
            del self._unwritten[key]
        return error is None

    def _write(self, key: str, record: Mapping[str, str] | None) -> None:
        """Write or remove the file of a record, durably if there is no boot. Raises: OSError."""
        path = self._path(key)
        if record is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
        else:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            whole = {"key": key, "boot": self._boot, "record": record}
            write = files.write_beside if self._boot else files.write_durably
            write(path, json.dumps(whole, indent=1).encode())
        if not self._boot:
            with suppress(FileNotFoundError):
                files.sync_directory(self._folder)

    def _say(self, error: OSError | None) -> None:
        """Set `problem` from an error, and log a new one; None: it was written."""
        if error is None:
            self._problem = self._problem if self._unread else ""
            return
        problem = f"{self._folder}: {error.strerror or error}"
        if problem != self._problem:
            logger.warning("what this node knows cannot be kept: {}", problem)
        self._problem = problem

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:40]
        return self._folder / f"{name}{_SUFFIX}"


def _parse(data: bytes) -> tuple[str, str, Mapping[str, str]]:
    """Return key, boot and record. Raises: ValueError, KeyError, TypeError, AttributeError."""
    whole = json.loads(data)
    record = {str(name): str(value) for name, value in whole["record"].items()}
    return whole["key"], whole["boot"], record


def node_state(state_dir: Path, driver_name: str) -> NodeState:
    """Return the records of a driver on this node; a machine may have several drivers.

    Raises: OSError, if the boot id cannot be read.
    """
    folder = state_dir / driver_name
    return NodeState(
        mount_records=FileRecords(
            folder / "places", boot=_BOOT_ID.read_text(encoding="ascii").strip()
        ),
        pools=FileRecords(folder / "pools"),
    )
