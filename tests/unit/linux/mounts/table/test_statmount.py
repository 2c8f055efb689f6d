"""listmount(2) and statmount(2): pages, buffers, ids that are gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.linux.mounts.table import mount_ids, statmount
from tests.unit.linux.mounts.table.conftest import needs_statmount


@needs_statmount
def test_an_id_that_is_not_there_is_no_mount() -> None:
    assert statmount.entry(1 << 62) is None


@needs_statmount
def test_many_ids_are_listed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statmount, "_IDS", 2)
    ids = list(statmount.ids(statmount.listing()))
    assert mount_ids.topmost(Path("/proc"), unique=True) in ids
    assert mount_ids.topmost(Path("/"), unique=True) in ids
    assert ids == sorted(set(ids))


@needs_statmount
def test_a_buffer_that_is_too_small_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statmount, "_SIZES", (512, 513, 4096))
    root = mount_ids.topmost(Path("/"), unique=True)
    assert root
    mount = statmount.entry(root)
    assert mount
    assert mount.target == Path("/")
