"""Targets are made and removed, one component at a time, and never with data in them."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.linux.mounts import targets


def test_a_directory_is_made_for_its_owner_and_group(tmp_path: Path) -> None:
    with ExitStack() as undo:
        assert targets.make_directory(tmp_path / "new", undo)
        assert not targets.make_directory(tmp_path / "new", undo)
        undo.pop_all()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o750


def test_a_file_is_made_for_its_owner(tmp_path: Path) -> None:
    with ExitStack() as undo:
        targets.make_file(tmp_path / "new", undo)
        targets.make_file(tmp_path / "new", undo)
        undo.pop_all()
    assert (tmp_path / "new").stat().st_mode == stat.S_IFREG | 0o600


def test_what_was_made_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with ExitStack() as undo:
        targets.make_directory(tmp_path / "old", undo)
        targets.make_directory(tmp_path / "new", undo)
        targets.make_file(tmp_path / "file", undo)
    assert [one.name for one in tmp_path.iterdir()] == ["old"]


def test_taking_back_never_takes_what_somebody_put_there(tmp_path: Path) -> None:
    with ExitStack() as undo:
        targets.make_directory(tmp_path / "new", undo)
        (tmp_path / "new" / "data").write_text("mine")
    assert (tmp_path / "new" / "data").read_text() == "mine"


def test_only_the_last_component_is_made(tmp_path: Path) -> None:
    for make in (targets.make_directory, targets.make_file):
        with ExitStack() as undo, pytest.raises(Refused, match="the caller must create it"):
            make(tmp_path / "missing" / "new", undo)
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for make, names in [
        (targets.make_directory, ["file", "link"]),
        (targets.make_file, ["folder", "link"]),
    ]:
        for name in names:
            with ExitStack() as undo, pytest.raises(Refused, match="in the way"):
                make(tmp_path / name, undo)


def test_empty_things_are_removed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        targets.remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_never_made_for_a_mount_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(Refused, match="nothing was removed"):
            targets.remove(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_with_files_in_it_is_no_place_for_a_mount(tmp_path: Path) -> None:
    targets.refuse_filled(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(Refused, match="'mine' in it"):
        targets.refuse_filled(tmp_path)


def test_data_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").touch()
    with pytest.raises(Refused, match="4 bytes"):
        targets.remove(tmp_path / "file")
    with pytest.raises(OSError, match="not empty"):
        targets.remove(tmp_path / "folder")
    assert (tmp_path / "file").read_text() == "mine"


def test_only_an_empty_directory_is_removed_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "filled" / "data").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("empty")
    names = [path.name for path in tmp_path.iterdir() if targets.try_removing_directory(path)]
    assert names == ["empty"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "filled", "link"]
    assert not targets.try_removing_directory(tmp_path / "missing")
