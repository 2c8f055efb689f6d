"""The record says what was counted, and nothing else."""

from __future__ import annotations

import pytest

from tools import record
from tools.record import Row

CHECK = "\x1b[32m\x1b[1m12 passed\x1b[0m, \x1b[33m1 skipped\x1b[0m in 2.05s\n"


def test_the_closing_lines_are_counted_in_order() -> None:
    text = f"...\n===== 3 passed, 5 deselected in 1.00s =====\nmore\n{CHECK}torture: 2 passed, 1 failed\n"
    assert (
        record.counted(text) == "3 passed, 5 deselected; 12 passed, 1 skipped; 2 passed, 1 failed"
    )


def test_a_run_that_counted_nothing_says_so() -> None:
    assert record.counted("make: *** [check] Error 1\n") == "nothing"


def test_a_row_takes_the_place_of_the_one_before_and_leaves_the_others() -> None:
    old = Row("check", "2026-01-01", "a", "passed", "1 passed", "1 s")
    other = Row("test", "2026-01-02", "b", "failed (2)", "1 failed", "2 s")
    new = Row("check", "2026-01-03", "c", "passed", "2 passed", "3 s")
    rows = ""
    for row in (other, old, new):
        rows = record.with_row(rows, row)
    assert rows.splitlines()[2:] == [new.line(), other.line()]


def test_a_tier_is_not_given_the_names_of_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", " -- ARGS=check")
    monkeypatch.setenv("ARGS", "check")
    monkeypatch.setenv("HOME", "/home")
    assert not record.HANDED_ON & set(record.environment())
    assert record.environment()["HOME"] == "/home"


def test_figures_stand_between_their_marks() -> None:
    text = record.RECORD.read_text(encoding="utf-8")
    figure = {"name": "a life", "value": 20.0, "unit": "ms", "floor": 10.0, "target": "1.5"}
    made = record.between(text, record.FIGURES, record.table([figure]))
    assert "| a life | 20.0 ms | 10.00 | 2.00 | 1.5 |" in record.inside(made, record.FIGURES)
    assert record.inside(made, record.MARKS) == record.inside(text, record.MARKS)
