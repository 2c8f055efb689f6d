"""When a pool of loop files wants a disk; tests/root/disks has what it makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import PoolUnavailable
from driver.core.ports.memory_records import MemoryRecords
from driver.disks.loopfile_claim import LoopfileClaim
from driver.linux.disks import find_filesystem
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.disks.find_filesystem import DiskSource

WHERE = Path("/srv/fast")


def test_it_wants_one_disk_and_none_in_place_of_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = MemoryRecords()
    source = DiskSource("LABEL", "cellar-fast")
    claim = LoopfileClaim("fast", WHERE, source, DiskRule(model="X"), "cellar.test", known)
    monkeypatch.setattr(find_filesystem, "exists", lambda _: False)
    assert claim.wants_disk()
    known.write(str(WHERE), {"pool": "0" * 12})
    with pytest.raises(PoolUnavailable, match="no blank disk is taken in its place"):
        claim.wants_disk()
    monkeypatch.setattr(find_filesystem, "exists", lambda _: True)
    assert not claim.wants_disk()
