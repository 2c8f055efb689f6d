"""The pager, on a stream that says that it is a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from driver.cli import pager


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the pager writes what it is given to."""
    monkeypatch.setenv("PAGER", f"sh -c 'cat >{tmp_path}/paged'")
    return tmp_path / "paged"


def written(stream: io.StringIO, count: int) -> str:
    pager.write(stream, (f"line {number}" for number in range(count)))
    return stream.getvalue()


def test_what_fills_more_than_the_screen_goes_to_the_pager(paged: Path) -> None:
    assert written(Terminal(), 100) == ""
    assert paged.read_text().splitlines() == [f"line {number}" for number in range(100)]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_what_fits_on_the_screen_needs_no_pager(paged: Path, count: int) -> None:
    assert len(written(Terminal(), count).splitlines()) == count
    assert not paged.exists()


def test_a_pipe_has_no_pager(paged: Path) -> None:
    assert len(written(io.StringIO(), 100).splitlines()) == 100
    assert not paged.exists()


@pytest.mark.parametrize("setting", ["cat", "", "no-such-program"])
def test_without_a_pager_everything_is_written(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("PAGER", setting)
    assert len(written(Terminal(), 100).splitlines()) == 100


def test_a_person_may_leave_the_pager_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "true")
    assert written(Terminal(), 100_000) == ""
