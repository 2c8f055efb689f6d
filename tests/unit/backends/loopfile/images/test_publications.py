"""Publications that a pool cannot take are kept in memory until it can."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.loopfile.images import image_records
from driver.backends.loopfile.images.publications import Publications
from driver.core.ids import VolumeId
from driver.core.model import GIB, AccessMode, Allocation, Publication, Volume

ROOT = Path("/pool")
MODE = AccessMode.SINGLE_NODE_WRITER
VOLUME = Volume(
    id=VolumeId("1" * 12, "a" * 32),
    name="v",
    size=GIB,
    fs=None,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="0" * 16,
)
ON_A = replace(VOLUME, published=Publication("a", read_only=False, mode=MODE))
ON_B = replace(VOLUME, published=Publication("b", read_only=False, mode=MODE))


class FakeDisk:
    """What `image_records.write_publication` wrote; `code`: the errno with which it fails."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.written: list[Volume] = []

    def write(self, root: Path, volume: Volume) -> None:
        assert root == ROOT
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        self.written.append(volume)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FakeDisk:
    disk = FakeDisk()
    monkeypatch.setattr(image_records, "write_publication", disk.write)
    return disk


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_writes_is_written_to_later(disk: FakeDisk, code: int) -> None:
    publications = Publications()
    disk.code = code
    publications.write(ROOT, ON_A)
    assert publications.with_unwritten(VOLUME) == ON_A
    publications.retry(ROOT)  # still not
    assert publications.with_unwritten(VOLUME) == ON_A
    disk.code = 0
    publications.retry(ROOT)
    publications.retry(ROOT)
    assert disk.written == [ON_A]
    assert publications.with_unwritten(VOLUME) == VOLUME  # the pool has it


def test_any_other_failure_is_the_callers(disk: FakeDisk) -> None:
    disk.code = errno.EIO
    publications = Publications()
    with pytest.raises(OSError, match="Input/output error"):
        publications.write(ROOT, ON_A)
    assert publications.with_unwritten(VOLUME) == VOLUME


def test_what_was_written_at_last_counts(disk: FakeDisk) -> None:
    publications = Publications()
    disk.code = errno.ENOSPC
    publications.write(ROOT, ON_A)
    publications.write(ROOT, VOLUME)
    assert publications.with_unwritten(ON_A) == VOLUME  # it was unpublished meanwhile
    disk.code = 0
    publications.write(ROOT, ON_B)
    publications.retry(ROOT)
    assert disk.written == [ON_B]


def test_a_volume_that_was_created_again_has_nothing_of_the_former(disk: FakeDisk) -> None:
    publications = Publications()
    disk.code = errno.ENOSPC
    publications.write(ROOT, ON_A)
    again = replace(VOLUME, incarnation="1" * 16)
    assert publications.with_unwritten(again) == again
