"""Deleted images, on whatever filesystem is below /tmp: freed at once, or piece by piece."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.backends.loopfile.images import freeing
from driver.backends.loopfile.images.freeing import SpaceFreer
from driver.core.ids import IMAGE_FILE
from driver.core.model import GIB, MIB
from tests.support.open_files import open_files
from tests.support.waiting import wait_until

SIZE = 4 * MIB


def deleted(pool: Path, name: str = ".del-x") -> Path:
    folder = pool / name
    folder.mkdir(parents=True)
    (folder / IMAGE_FILE).write_bytes(os.urandom(SIZE))
    (folder / "volume.json").write_text("{}")
    return folder


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each piece took long: a call frees one, and pieces stay small."""
    monkeypatch.setattr(freeing, "_MOMENT", 0.0)
    monkeypatch.setattr(freeing, "_QUICK", 0.0)
    monkeypatch.setattr(freeing, "_FIRST", MIB)


def test_what_is_quick_is_gone_when_the_call_ends(tmp_path: Path) -> None:
    freer = SpaceFreer()
    freer.free(deleted(tmp_path))
    freer.free(tmp_path / ".del-y")  # it is gone already
    assert list(tmp_path.iterdir()) == []
    assert freer.pending == 0


def test_a_large_image_with_few_bytes_is_cut_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deleted(tmp_path)
    os.truncate(folder / IMAGE_FILE, GIB)
    sizes, truncate = list[int](), os.ftruncate

    def recorded(fd: int, size: int) -> None:
        sizes.append(size)
        truncate(fd, size)

    monkeypatch.setattr(os, "ftruncate", recorded)
    SpaceFreer().free(folder)
    assert sizes == [0]
    assert not folder.exists()


def test_what_else_is_in_the_folder_goes_too(tmp_path: Path) -> None:
    folder = deleted(tmp_path)
    (folder / "attached.json").write_text("{}")
    (folder / "odd").mkdir()
    SpaceFreer().free(folder)
    assert not folder.exists()


def test_what_takes_long_goes_on_in_the_background(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    freer = SpaceFreer()
    begin = freer._background.begin
    monkeypatch.setattr(freer._background, "begin", lambda: None)
    folders = [deleted(tmp_path, name) for name in (".del-x", ".del-y")]
    for folder in folders:
        freer.free(folder)
        assert (folder / IMAGE_FILE).stat().st_size == SIZE - MIB, "a piece, and no more"
    assert 0 < freer.pending <= 2 * SIZE
    monkeypatch.setattr(freer._background, "begin", begin)
    freer.resume()
    wait_until(lambda: not list(tmp_path.iterdir()))
    wait_until(lambda: freer.pending == 0)


def test_a_pool_that_is_dropped_keeps_what_is_left_and_nothing_is_open(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    freer = SpaceFreer()
    monkeypatch.setattr(freer._background, "begin", lambda: None)
    folder = deleted(tmp_path)
    freer.free(folder)
    freer.stop()
    assert freer.pending == 0
    assert folder.is_dir(), "it is a leftover now"
    assert open_files(tmp_path) == []
    SpaceFreer().free(folder)


def test_one_that_cannot_be_freed_delays_no_other(
    tmp_path: Path, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    freer = SpaceFreer()
    monkeypatch.setattr(freer._background, "begin", lambda: None)
    stays, goes = (deleted(tmp_path, name) for name in (".del-x", ".del-y"))
    for folder in (stays, goes):
        freer.free(folder)
    image = stays / IMAGE_FILE
    image.unlink()
    outside = tmp_path / "outside"
    outside.touch()
    image.symlink_to(outside)
    monkeypatch.undo()

    def has_gone() -> bool:
        freer.resume()  # as maintenance does
        return not goes.exists()

    wait_until(has_gone)
    assert stays.exists()
    assert outside.exists()
    freer.stop()


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    outside = deleted(tmp_path / "outside", "image")
    pool = tmp_path / "pool"
    pool.mkdir()
    (pool / ".del-x").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        SpaceFreer().free(pool / ".del-x")
    assert (outside / IMAGE_FILE).stat().st_size == SIZE


def test_nothing_is_open_after_a_folder_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("shutil.rmtree", fail)
    folder = deleted(tmp_path)
    (folder / "odd").mkdir()
    with pytest.raises(PermissionError):
        SpaceFreer().free(folder)
    assert open_files(tmp_path) == []
