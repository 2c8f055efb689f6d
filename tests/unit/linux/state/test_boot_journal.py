"""The journal of this boot: cut off, grown long, removed by somebody, and on a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from driver.linux.state import boot_journal
from driver.linux.state.boot_journal import BootJournal

RECORD = {"volume": "v"}


def again(folder: Path) -> BootJournal:
    """As the next process finds it."""
    return BootJournal(folder, "b")


def test_the_last_line_about_a_key_counts(tmp_path: Path) -> None:
    journal = again(tmp_path)
    journal.write({"a": RECORD, "b": RECORD})
    journal.write({"a": {"volume": "w"}, "b": None, "never": None})
    assert again(tmp_path).read() == {"a": {"volume": "w"}}


@pytest.mark.parametrize("torn", ['{"key": "x", "rec', "\0\0\0", "null\n", '{"key": "x"}\n', "\n"])
def test_a_line_that_was_cut_off_costs_no_other(torn: str, tmp_path: Path) -> None:
    again(tmp_path).write({"a": RECORD})
    [path] = tmp_path.iterdir()
    path.write_text(path.read_text() + torn)
    assert again(tmp_path).read() == {"a": RECORD}
    again(tmp_path).write({"b": RECORD})
    assert again(tmp_path).read() == {"a": RECORD, "b": RECORD}


def test_a_long_journal_is_replaced_by_what_it_amounts_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_journal, "_LEAST", 2000)
    journal = again(tmp_path)
    journal.write({"stays": RECORD})
    for number in range(500):
        journal.write({f"k{number}": RECORD})
        journal.write({f"k{number}": None})
    [path] = tmp_path.iterdir()
    assert path.stat().st_size < 3000
    assert journal.read() == again(tmp_path).read() == {"stays": RECORD}


def test_what_a_killed_process_left_of_a_compaction_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(tmp_path).write({"a": RECORD})
    (tmp_path / "b.journal.tmp").write_text('{"key": "x", "record": {"volume": "wrong"}}\n')
    monkeypatch.setattr(boot_journal, "_LEAST", 1)
    again(tmp_path).write({"b": RECORD})
    assert again(tmp_path).read() == {"a": RECORD, "b": RECORD}
    assert os.listdir(tmp_path) == ["b.journal"]


def test_a_journal_that_somebody_removed_is_written_again(tmp_path: Path) -> None:
    journal = again(tmp_path / "state")
    journal.write({"a": RECORD})
    os.unlink(tmp_path / "state" / "b.journal")
    (tmp_path / "state").rmdir()
    journal.write({"b": RECORD})
    assert again(tmp_path / "state").read() == {"a": RECORD, "b": RECORD}


def test_a_journal_that_was_replaced_is_appended_to(tmp_path: Path) -> None:
    journal = again(tmp_path)
    journal.write({"a": RECORD})
    os.unlink(tmp_path / "b.journal")
    again(tmp_path).write({"theirs": RECORD})
    journal.write({"b": RECORD})
    assert again(tmp_path).read() == {"theirs": RECORD, "b": RECORD}


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, write = again(tmp_path), os.write
    journal.write({"a": RECORD})
    size = (tmp_path / "b.journal").stat().st_size

    def write_a_little(fd: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_a_little)
        with pytest.raises(OSError, match="No space left"):
            journal.write({"b": RECORD})
    assert (tmp_path / "b.journal").stat().st_size == size
    journal.write({"b": RECORD})
    assert again(tmp_path).read() == {"a": RECORD, "b": RECORD}


def test_a_line_after_one_that_could_not_be_written_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full, and could not even give back what had been written."""
    journal = again(tmp_path)
    journal.write({"a": RECORD})

    def half(fd: int, data: memoryview) -> int:
        monkeypatch.undo()
        monkeypatch.setattr(os, "write", full)
        monkeypatch.setattr(os, "ftruncate", full)
        return write(fd, data[:10])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write = os.write
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        journal.write({"b": RECORD})
    monkeypatch.undo()
    journal.write({"c": RECORD})
    assert again(tmp_path).read() == {"a": RECORD, "c": RECORD}
