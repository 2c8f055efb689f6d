"""Durable records: FOLDER/<hash of the key>.json with {"key": ..., "boot": "", "record": {...}}."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from loguru import logger

from driver.linux import files

_SUFFIX: Final = ".json"


class RecordFiles:
    """Stores each record in a file of its own, synced before `write` returns (implements Storage).

    `folder`: the directory of the files, created at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> dict[str, Mapping[str, str]]:
        """Return all records by the key under which each is stored; a damaged file is logged and
        skipped. Raises: OSError.
        """
        records = dict[str, Mapping[str, str]]()
        with suppress(FileNotFoundError):
            for name in os.listdir(self.folder):
                if name.endswith(_SUFFIX):
                    self._read_file(self.folder / name, records)
        return records

    def write(self, changes: Mapping[str, Mapping[str, str] | None]) -> None:
        """Write the new record of each key in `changes` to its file, and remove the files of those
        that are None. Raises: OSError.
        """
        for key, record in changes.items():
            if record is None:
                self._remove(self._path(key))
            else:
                self._write(self._path(key), key, record)

    def _read_file(self, path: Path, records: dict[str, Mapping[str, str]]) -> None:
        """Add the record in a file to `records`. Raises: OSError."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # removed since it was listed
            return
        try:
            key, record = _parse(data)
        except (ValueError, KeyError, TypeError, AttributeError):
            key, record = "", {}
        if path == self._path(key):
            records[key] = record
        else:
            logger.warning("{} is no record of this node, or damaged; it was skipped", path)

    def _write(self, path: Path, key: str, record: Mapping[str, str]) -> None:
        """Write the file of a record and sync it and its directory. Raises: OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = {"key": key, "boot": "", "record": record}
        files.write_durably(path, json.dumps(whole, indent=1).encode())
        files.sync_directory(self.folder)

    def _remove(self, path: Path) -> None:
        """Remove the file of a record; no-op if there is none. Raises: OSError."""
        with suppress(FileNotFoundError):
            os.unlink(path)
            files.sync_directory(self.folder)

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:40]
        return self.folder / f"{name}{_SUFFIX}"


def _parse(data: bytes) -> tuple[str, Mapping[str, str]]:
    """Return key and record. Raises: ValueError, KeyError, TypeError, AttributeError."""
    whole = json.loads(data)
    record = {str(name): str(value) for name, value in whole["record"].items()}
    return whole["key"], record
