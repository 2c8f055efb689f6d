"""Records of a process, as the next process reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records
from driver.linux.state.boot_journal import BootJournal
from driver.linux.state.record_files import RecordFiles
from driver.linux.state.records import StoredRecords


def again(folder: Path, boot: str = "") -> StoredRecords:
    """As the next process finds them. `boot`: the id of this boot; empty: durable records."""
    return StoredRecords(BootJournal(folder, boot) if boot else RecordFiles(folder), index="volume")


@pytest.fixture(params=["file", "boot", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    if request.param == "memory":
        return MemoryRecords()
    return again(tmp_path / "state", "b" if request.param == "boot" else "")
