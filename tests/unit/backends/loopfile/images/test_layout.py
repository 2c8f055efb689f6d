"""How an image begins and ceases to exist: as a whole, or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.loopfile.images import image_records, layout
from driver.core.errors import Damaged
from driver.core.model import MIB
from tests.unit.backends.loopfile.images.conftest import NAME, VOLUME, filled


def test_a_build_that_fails_leaves_nothing_and_a_repeat_clears_what_a_crash_left(
    tmp_path: Path,
) -> None:
    def fail(disk: Path) -> None:
        disk.write_bytes(b"half")
        raise Damaged("the source is damaged")

    with pytest.raises(Damaged):
        layout.build(tmp_path, VOLUME, fail)
    assert list(tmp_path.iterdir()) == []
    building = tmp_path / layout.building_name(VOLUME.id)
    building.mkdir()
    (building / layout.DISK).write_bytes(b"of a killed process")
    layout.build(tmp_path, VOLUME, filled(b"new"))
    assert layout.disk(tmp_path, VOLUME.id).read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_contents_are_replaced_as_a_whole_or_not_at_all(root: Path) -> None:
    def fail(disk: Path) -> None:
        disk.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    formatted = replace(VOLUME, size=2 * MIB)
    with pytest.raises(OSError, match="No space left"):
        layout.rebuild(root, formatted, fail)
    assert image_records.read(root, NAME) == VOLUME
    assert layout.disk(root, VOLUME.id).read_bytes() == bytes(MIB)
    layout.rebuild(root, formatted, filled(b"luks"))
    assert image_records.read(root, NAME) == formatted
    assert layout.disk(root, VOLUME.id).read_bytes() == b"luks"
    assert [path.name for path in root.iterdir()] == [NAME]


def test_an_image_that_is_short_or_gone_is_damaged(root: Path) -> None:
    assert layout.verified_image(root, VOLUME) == layout.disk(root, VOLUME.id)
    os.truncate(layout.disk(root, VOLUME.id), MIB - 1)
    with pytest.raises(Damaged, match="1048575 bytes, 1048576 are recorded"):
        layout.verified_image(root, VOLUME)
    layout.disk(root, VOLUME.id).unlink()
    with pytest.raises(Damaged, match="its image is gone"):
        layout.verified_image(root, VOLUME)
