"""Which mount a path lies on."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.linux.mounts.table import mount_ids
from tests.unit.linux.mounts.table.conftest import Refusing, needs_statmount


@needs_statmount
def test_a_filesystem_without_handles_is_asked_by_statx(monkeypatch: pytest.MonkeyPatch) -> None:
    unique = mount_ids.topmost(Path("/proc"), unique=True)
    old = mount_ids.topmost(Path("/proc"), unique=False)
    monkeypatch.setattr(mount_ids, "_libc", Refusing(mount_ids._libc, "name_to_handle_at"))
    monkeypatch.setattr(mount_ids, "_unlocked", mount_ids._libc)
    assert mount_ids.topmost(Path("/proc"), unique=True) == unique
    assert mount_ids.topmost(Path("/proc"), unique=False) == old
