"""What this driver has mounted where, as it wrote it down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from driver.core.devices import MountPoint
from driver.core.ids import VolumeId
from driver.core.ports.memory_records import MemoryRecords
from driver.volumes.node.mount_records import MountRecord, MountRecords

RECORD = MountRecord(
    path=Path("/pods/x"),
    volume="v",
    device=Path("/dev/loop3"),
    number=1795,
    node=False,
    read_only=False,
    staging=Path("/staging"),
)


def place(number: int, source: str = "") -> MountPoint:
    return MountPoint(
        target=Path("/pods/x"),
        number=number,
        node=False,
        root="/",
        read_only=False,
        options=frozenset(),
        source=source,
    )


def test_records_are_read_as_they_were_written() -> None:
    records = MountRecords(MemoryRecords())
    staging = replace(RECORD, path=RECORD.staging, node=True, read_only=True)
    records.write(RECORD)
    records.write(staging)
    assert records.at(RECORD.path) == RECORD
    assert records.at(RECORD.staging) == staging
    assert staging.is_staging
    assert not RECORD.is_staging


def test_a_record_that_this_version_cannot_read_is_none() -> None:
    kept = MemoryRecords()
    kept.write("/pods/x", {"volume": "v", "number": "many"})
    assert MountRecords(kept).at(Path("/pods/x")) is None


def test_a_mount_is_that_of_a_record_by_number_or_else_by_name() -> None:
    assert RECORD.matches(place(1795))
    assert not RECORD.matches(place(1796, "/dev/loop3"))
    assert RECORD.matches(place(0, "/dev/loop3"))
    assert not RECORD.matches(place(0, "tmpfs"))


def test_a_record_is_parsed_once_until_it_is_written_again() -> None:
    kept = MemoryRecords()
    records = MountRecords(kept)
    records.write(RECORD)
    assert records.at(RECORD.path) is records.at(RECORD.path)
    changed = replace(RECORD, number=5)
    MountRecords(kept).write(changed)
    assert records.at(RECORD.path) == changed
    records.remove(RECORD.path, VolumeId("p", "v"))
    assert records.at(RECORD.path) == changed  # it is another volume's
