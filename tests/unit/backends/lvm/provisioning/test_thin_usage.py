"""When a thin pool takes nothing new, and why."""

from __future__ import annotations

import pytest

from driver.backends.lvm.provisioning.thin_usage import ThinPoolUsage
from driver.backends.lvm.volume_group import Groups
from driver.core.ports.memory_records import MemoryRecords
from driver.linux.devices.dm import ThinPool, parse_thin_pool


def pool(data: int = 10, metadata: int = 10, trouble: str = "") -> ThinPool:
    """Its shares in percent."""
    return ThinPool(metadata, 100, data, 100, trouble)


def guard() -> ThinPoolUsage:
    return ThinPoolUsage(Groups(MemoryRecords()).get("vg"), "pool0", "0")


@pytest.mark.parametrize(("data", "metadata"), [(0, 0), (94, 79)])
def test_below_its_marks_there_is_nothing_wrong(data: int, metadata: int) -> None:
    assert guard().find_problem(pool(data, metadata)) is None


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (pool(data=95), "`lvextend`"),
        (pool(metadata=80), "`lvextend --poolmetadatasize`"),
        (pool(trouble="it is read-only"), "read-only"),
    ],
)
def test_beyond_a_mark_the_cure_is_said(status: ThinPool, cure: str) -> None:
    said = guard().find_problem(status)
    assert "vg/pool0" in str(said)
    assert cure in str(said)


def test_a_pool_that_failed_is_full_in_every_respect() -> None:
    assert guard().find_problem(parse_thin_pool("0 1048576 thin-pool Fail"))
