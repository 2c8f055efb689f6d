"""Records that a node keeps outside of its pools, on disks that are well and on some that are not."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from driver.core.errors import Exhausted
from driver.core.ports.records import Records
from driver.linux import files
from driver.linux.state import records
from tests.unit.linux.state.conftest import again

KEY = "/var/lib/kubelet/pods/x/mount"
RECORD = {"volume": "v", "device": "7:3"}


def test_what_was_put_is_there_until_it_is_dropped(store: Records) -> None:
    store.remove(KEY)
    assert store.get(KEY) is None
    store.write(KEY, RECORD)
    store.write("other", {})
    assert store.get(KEY) == RECORD
    assert store.items() == {KEY: RECORD, "other": {}}
    store.write(KEY, {"volume": "w"})
    store.remove("other")
    assert store.items() == {KEY: {"volume": "w"}}
    assert store.problem is None


@pytest.mark.parametrize("boot", ["", "b"])
def test_the_next_process_finds_what_was_put(boot: str, tmp_path: Path) -> None:
    first = again(tmp_path / "a" / "b", boot)
    first.write(KEY, RECORD)
    first.write("gone", RECORD)
    first.remove("gone")
    assert first.flush()
    assert again(tmp_path / "a" / "b", boot).items() == {KEY: RECORD}


def test_keys_may_be_paths_of_any_length_and_any_bytes(tmp_path: Path) -> None:
    keys = ["/" + "k" * 4000, "/../../etc", "/\udcff", "", "/a\nb", "/A", "/a"]
    store = again(tmp_path / "state")
    for key in keys:
        store.write(key, {"key": key.replace("\udcff", "")})
    assert sorted(again(tmp_path / "state").items()) == sorted(keys)
    assert os.listdir(tmp_path) == ["state"]


def test_records_of_an_earlier_boot_are_gone(tmp_path: Path) -> None:
    again(tmp_path, "one").write(KEY, RECORD)
    store = again(tmp_path, "two")
    assert store.get(KEY) is None
    store.write("other", RECORD)
    assert os.listdir(tmp_path) == ["two.journal"]
    assert again(tmp_path, "two").items() == {"other": RECORD}


def test_where_nothing_can_be_written_this_process_still_knows(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file is in the way")
    store = again(tmp_path / "state" / "places")
    store.write(KEY, RECORD)
    assert store.get(KEY) == RECORD
    assert "state/places: Not a directory" in str(store.problem)
    store.remove(KEY)
    assert store.get(KEY) is None


def test_a_full_disk_gets_everything_when_it_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = again(tmp_path)
    store.write("old", RECORD)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_durably", _full)
        store.write(KEY, RECORD)
        store.write("dropped", RECORD)
        store.remove("dropped")
        store.remove("old")
        assert "No space left" in str(store.problem)
    store.write("new", RECORD)
    assert store.flush()
    assert store.problem is None
    assert set(again(tmp_path).items()) == {KEY, "new"}


def test_a_disk_that_stands_still_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = threading.Event()
    monkeypatch.setattr(records, "TIMEOUT", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_durably", lambda *_: moves.wait())
        store = again(tmp_path)
        store.write(KEY, RECORD)
        assert store.problem
        monkeypatch.setattr(records, "TIMEOUT", 60.0)
        store.write("other", RECORD)  # would be waited for if the first were forgotten
        store.remove(KEY)
        assert store.items() == {"other": RECORD}
        moves.set()
        assert store.flush()
    assert store.problem is None


def test_a_folder_that_cannot_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again(tmp_path)
    first.write(KEY, RECORD)
    first.write("gone", RECORD)
    store = again(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", _broken)
        assert store.get(KEY) is None
        assert "Input/output error" in str(store.problem)
        store.write("new", RECORD)
        store.remove("gone")
        assert store.flush()
        assert store.problem  # what is there is still unknown
    assert set(store.items()) == {KEY, "new"}


def _full(path: Path, data: bytes) -> None:
    raise OSError(28, os.strerror(28), str(path))


def _broken(path: Path) -> list[str]:
    raise OSError(5, os.strerror(5), str(path))


def test_what_could_not_be_written_for_want_of_a_thread_is_written_next(
    tmp_path: Path, no_threads: AbstractContextManager[None]
) -> None:
    store = again(tmp_path, "b")
    with no_threads, pytest.raises(Exhausted, match="no thread"):
        store.write(KEY, RECORD)
    store.write("other", RECORD)
    assert store.flush()
    assert again(tmp_path, "b").items() == {KEY: RECORD, "other": RECORD}
