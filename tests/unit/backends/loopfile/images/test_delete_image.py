"""How an image ceases to exist: by one rename."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from driver.backends.loopfile.images import delete_image, image_records, layout
from tests.unit.backends.loopfile.images.conftest import NAME, VOLUME


def test_a_deleted_image_has_a_name_of_its_life_and_a_repeat_is_no_error(root: Path) -> None:
    deleted = delete_image.mark_deleted(root, VOLUME)
    assert deleted.name == f".del-{NAME}-{VOLUME.incarnation}"
    assert deleted.is_dir()
    assert image_records.read(root, NAME) is None
    assert delete_image.mark_deleted(root, VOLUME) == deleted


def test_a_filesystem_too_full_for_a_rename_gets_room_from_the_image(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As btrfs does: the bytes are given back first."""
    rename = Path.rename

    def refuse_while_full(path: Path, to: Path) -> Path:
        if layout.disk(root, VOLUME.id).stat().st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse_while_full)
    assert delete_image.mark_deleted(root, VOLUME).is_dir()
    assert image_records.read(root, NAME) is None


def test_any_other_failure_leaves_the_image_as_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, to: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        delete_image.mark_deleted(root, VOLUME)
    monkeypatch.undo()
    assert image_records.read(root, NAME) == VOLUME
    assert layout.disk(root, VOLUME.id).stat().st_size == VOLUME.size
