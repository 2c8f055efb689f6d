"""What a question about mounts costs where statmount(2) answers it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_ids, statmount
from driver.linux.mounts.table.statmount_table import StatmountTable
from tests.root.linux.conftest import Volume
from tests.root.linux.mounts.table.conftest import needs_statmount


@needs_statmount
def test_one_mount_is_asked_without_a_list_of_all(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        pytest.fail("all mounts were listed for a question about one")

    monkeypatch.setattr("driver.linux.mounts.table.statmount.listing", refuse)
    monkeypatch.setattr("driver.linux.mounts.table.mountinfo.read", refuse)
    table = StatmountTable()
    assert table.topmost_at(volume.target)
    assert len(table.at(volume.target)) == 1
    fd = os.open(volume.target, os.O_RDONLY)
    try:
        assert table.find_by_descriptor(fd)
    finally:
        os.close(fd)
    assert mount_ids.topmost(volume.target, unique=True)


@needs_statmount
def test_each_mount_is_examined_once(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    table, asked, ask = StatmountTable(), list[int](), statmount._ask
    table.device_mounts(volume.status.number)

    def count(mount_id: int) -> bytes:
        asked.append(mount_id)
        return ask(mount_id)

    monkeypatch.setattr(statmount, "_ask", count)
    assert len(table.device_mounts(volume.status.number)) == 1
    assert len(asked) < 20  # of those that tests beside this one mount
    monkeypatch.undo()
    assert len(table._numbers) <= len(statmount.ids(statmount.listing())) + 300


@needs_statmount
def test_the_earlier_mounts_of_a_device_are_forgotten(volume: Volume, tmp_path: Path) -> None:
    table, number, bound = StatmountTable(), volume.status.number, tmp_path / "bound"
    bound.mkdir()
    for _ in range(30):
        mount.bind(volume.target, bound, read_only=False)
        try:
            assert len(table.device_mounts(number)) == 2
        finally:
            mount.unmount(bound)
    assert [each.target for each in table.device_mounts(number)] == [volume.target]
    assert len(table._mounts_of[number]) < 12
