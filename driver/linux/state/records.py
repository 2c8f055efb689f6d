"""Small records by key, read from memory, and written to disk by a thread.

So a disk that is full, read-only or hanging neither prevents unmounting a pod's volumes nor keeps a
healthy pool from working.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final, Protocol

from loguru import logger

from driver.core.answers import start_thread
from driver.linux.state.indexed import IndexedRecords, Record

TIMEOUT: Final = 1.0  # seconds that a call waits for the disk
IDLE: Final = 2.0  # seconds that the writer waits for more


class Storage(Protocol):
    """Reads and writes the small records of a node, each stored under a key, on the disk; used by
    one thread at a time. `folder`: the directory of the files.
    """

    folder: Path

    def read(self) -> dict[str, Record]:
        """Return all records, by the key under which each is stored. Raises: OSError."""

    def write(self, changes: Mapping[str, Record | None]) -> None:
        """Write the new record of each key in `changes`; None removes the record of that key.

        Raises: OSError: the caller writes all of them again later.
        """


class StoredRecords:
    """Keeps the small records of this node in memory and writes them to `storage` in a thread, so
    that no caller waits long for the disk (the Records port of driver/core/ports).

    `index`: the field by whose values `find` finds records without a search; "": none.
    """

    def __init__(self, storage: Storage, *, index: str = "") -> None:
        self._storage = storage
        self._lock = Lock()
        self._known = IndexedRecords(index)
        self._unread = True
        self._unwritten: dict[str, Record | None] = {}  # None: to be removed
        self._writer: Thread | None = None
        self._waiting = SimpleQueue[SimpleQueue[None]]()  # of calls that wait for the writer
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Return why records cannot be read or written, or could not in time; None: there is no
        such problem.
        """
        return self._problem

    def get(self, key: str) -> Record | None:
        """Return the record that is stored under `key`, from memory; None: there is none, or the
        disk could not be read yet.
        """
        with self._lock:
            return self._loaded().get(key)

    def items(self) -> Mapping[str, Record]:
        """Return a copy of all records, from memory, by the key under which each is stored."""
        with self._lock:
            return self._loaded().items()

    def find(self, field: str, value: str) -> Mapping[str, Record]:
        """Return a copy of the records whose `field` has this value, from memory, by the key under
        which each is stored.
        """
        with self._lock:
            return self._loaded().find(field, value)

    def write(self, key: str, record: Record) -> None:
        """Store `record` under `key`, and wait at most one second until the record is on the disk.

        No-op if the same record is stored already. Never fails: a record that cannot be written
        stays in memory and is written later, and the property `problem` says why.
        """
        with self._lock:
            if self._loaded().get(key) == record and key not in self._unwritten:
                return
            self._unwritten[key] = record = dict(record)
            self._known.set(key, record)
            reply = self._call_writer()
            waits = not self._problem
        if waits and not _is_answered(reply):
            with self._lock:
                if key in self._unwritten:
                    self._report(OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def remove(self, key: str) -> None:
        """Remove the record that is stored under `key`; no-op if there is none. The record is
        removed from the disk together with the next write, or about two seconds later.
        """
        with self._lock:
            if self._loaded().remove(key) or self._unread:
                self._unwritten[key] = None
                self._start_writer()

    def flush(self) -> bool:
        """Wait, at most a moment, until all records are on the disk. Returns whether they are."""
        with self._lock:
            reply = self._call_writer() if self._unwritten else None
        if reply:
            _is_answered(reply)
        with self._lock:
            return not self._unwritten

    # --- reading

    def _loaded(self) -> IndexedRecords:
        """Return all records; they are read at the first use, or as soon as the disk answers.

        Called with the lock.
        """
        if self._unread:
            try:
                records = self._storage.read()
            except OSError as error:
                self._report(error)
            else:
                self._unread = False
                for key, record in records.items():
                    if key not in self._unwritten:
                        self._known.set(key, record)
        return self._known

    # --- writing

    def _call_writer(self) -> SimpleQueue[None]:
        """Have the writer write at once. Returns what it puts something in when it has tried.

        Called with the lock. Queues wake a thread sooner than conditions and events.
        """
        reply = SimpleQueue[None]()
        self._waiting.put(reply)
        self._start_writer()
        return reply

    def _start_writer(self) -> None:
        """Start the writer's thread if none runs; called with the lock."""
        if self._writer is None:
            writer = Thread(target=self._write_all, name="records", daemon=True)
            start_thread(writer)
            self._writer = writer

    def _write_all(self) -> None:
        """Write changes until there are none for IDLE seconds; the body of the writer's thread.

        At the first failure the thread ends, and what is unwritten stays for the next change.
        """
        while True:
            replies = self._next_calls()
            with self._lock:
                if not replies and not self._unwritten and self._waiting.empty():
                    self._writer = None
                    return
                changes = dict(self._unwritten)
            error = self._try_writing(changes)
            with self._lock:
                self._report(error)
                self._forget_written({} if error else changes)
                if error:
                    self._writer = None
                    replies += self._next_calls(timeout=0)
            for reply in replies:
                reply.put(None)
            if error:
                return

    def _next_calls(self, timeout: float = IDLE) -> list[SimpleQueue[None]]:
        """Return all calls that wait by now; wait at most `timeout` seconds for the first one."""
        replies = list[SimpleQueue[None]]()
        try:
            while True:
                replies.append(self._waiting.get(timeout=0 if replies else timeout))
        except Empty:
            return replies

    def _try_writing(self, changes: Mapping[str, Record | None]) -> OSError | None:
        """Write changes to the disk; return the error if that failed."""
        try:
            if changes:
                self._storage.write(changes)
        except OSError as error:
            return error
        return None

    def _forget_written(self, changes: Mapping[str, Record | None]) -> None:
        """Forget that changes are unwritten, unless they have changed again; with the lock."""
        for key, record in changes.items():
            if self._unwritten.get(key) is record:
                self._unwritten.pop(key, None)

    def _report(self, error: OSError | None) -> None:
        """Set `problem` from an error, and log a new one; None: everything was written."""
        if error is None:
            self._problem = self._problem if self._unread else None
            return
        problem = f"{self._storage.folder}: {error.strerror or error}"
        if problem != self._problem:
            logger.warning("what this node knows cannot be kept: {}", problem)
        self._problem = problem


def _is_answered(reply: SimpleQueue[None]) -> bool:
    """Return whether the writer has tried to write within TIMEOUT seconds."""
    try:
        reply.get(timeout=TIMEOUT)
    except Empty:
        return False
    return True
