"""Quiescing: its time limit and its marks; freezing itself is tested with root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from driver.backends.quiesce import mark_files, quiesced, time_limit
from driver.core.errors import Busy
from driver.core.ids import VolumeId
from driver.linux.mounts.freeze import Freezer


def test_a_block_within_its_limit_raises_nothing() -> None:
    times = iter([10.0, 15.0])
    with time_limit(5.0, lambda: next(times)):
        pass


def test_a_block_beyond_its_limit_is_busy() -> None:
    times = iter([10.0, 15.1])
    with (
        pytest.raises(Busy, match=r"stopped for 5\.1 s, which is longer than the 5 s"),
        time_limit(5.0, lambda: next(times)),
    ):
        pass


def test_an_error_in_the_block_says_more_than_the_time_that_passed() -> None:
    times = iter([10.0, 99.0])
    with pytest.raises(KeyError), time_limit(5.0, lambda: next(times)):
        raise KeyError


def test_marks_are_there_in_the_block_alone(tmp_path: Path) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]
    with mark_files(marks):
        assert all(mark.exists() for mark in marks)
    assert list(tmp_path.iterdir()) == []


def test_marks_go_when_the_block_fails_and_when_one_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(KeyError), mark_files([tmp_path / "a"]):
        raise KeyError
    with pytest.raises(FileNotFoundError), mark_files([tmp_path / "a", tmp_path / "none" / "b"]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_marked_where_no_filesystem_is_mounted() -> None:
    marked: list[Sequence[VolumeId]] = []

    @contextmanager
    def mark(volumes: Sequence[VolumeId]) -> Iterator[None]:
        marked.append(volumes)
        yield

    with closing(Freezer()) as freezer, quiesced(freezer, {}, mark, 5.0):
        pass
    assert marked == []
