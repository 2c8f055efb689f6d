"""A pool of logical volumes has one driver and one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.lvm import tags
from driver.backends.lvm.pool import pool_lock
from driver.backends.lvm.pool.pool_lock import PoolLock
from driver.core.errors import PoolUnavailable

POOL, OTHER = "1" * 12, "2" * 12


@pytest.fixture(autouse=True)
def lock_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_lock, "LOCK_DIR", tmp_path / "lock")


def test_a_pool_is_ours_anothers_or_nobodys_by_its_tags() -> None:
    lock = PoolLock("a.csi")
    assert lock.is_owned(frozenset({"x", tags.owner_tag("a.csi")}), "vg")
    assert not lock.is_owned(frozenset({"x"}), "vg")
    with pytest.raises(PoolUnavailable, match=r"pool vg belongs to the driver 'b\.csi'"):
        lock.is_owned(frozenset({tags.owner_tag("b.csi")}), "vg")


def test_a_second_process_is_refused_until_the_first_lets_go() -> None:
    """Within a process too: flock(2) is of the open file."""
    first, second = PoolLock("a.csi"), PoolLock("a.csi")
    first.take(POOL, "vg")
    with pytest.raises(PoolUnavailable, match="another process works on the pool vg"):
        second.take(POOL, "vg")
    second.take(OTHER, "vg2")
    first.release()
    first.release()
    second.take(POOL, "vg")
    assert second.pool == POOL
    first.take(OTHER, "vg2")  # which the second gave up for the other
    first.release()
    second.release()
