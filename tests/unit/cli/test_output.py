from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.cli import output


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1 << 30, "1 GiB"),
        ((1 << 30) - 1, "1 GiB"),
        (1 << 60, "1024 PiB"),
    ],
)
def test_a_size_is_said_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert output.human(size) == text


@given(st.integers(min_value=0, max_value=1 << 62))
def test_a_size_is_never_said_off_by_more_than_one_twentieth(size: int) -> None:
    number, unit = output.human(size).split()
    said = float(number) * 1024 ** output.UNITS.index(unit)
    assert abs(said - size) <= max(size, 1) / 20


def test_a_short_id_keeps_the_pool_and_the_head_of_the_key() -> None:
    assert output.short("0123456789ab-" + "f" * 32) == "0123456789ab-ffffffff…"
    assert output.short("something") == "something"


def test_a_table_in_a_pipe_has_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows: Iterator[list[str]] = iter([["x" * 300, "1"], ["y", "20"]])
    output.as_table(["name", "number"], rows, right={"number"})
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "NUMBER"]
    assert first.split() == ["x" * 300, "1"]
    assert second.endswith(" 20") or second.rstrip().endswith(" 20")


def test_a_table_is_shown_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    """Of ten thousand rows the first are there before the last is known."""
    shown: list[int] = []

    def rows() -> Iterator[list[str]]:
        for number in range(2000):
            if number == 1500:
                shown.append(len(capsys.readouterr().out.splitlines()))
            yield [f"volume {number}", "wider than before" if number == 1999 else ""]

    output.as_table(["volume", "note"], rows(), right=())
    assert shown == [1501]
    assert capsys.readouterr().out.splitlines()[-1].split("  ")[-1] == "wider than before"


def test_columns_stand_below_each_other_in_any_script(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_table(["name", "size"], [["日本", "1"], ["e\u0301t\u00e9", "20"]], right={"size"})
    assert capsys.readouterr().out.splitlines() == [
        "NAME  SIZE",
        "日本     1",
        "e\u0301t\u00e9     20",
    ]


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.as_json([{"name": "päckchen"}])
    assert json.loads(capsys.readouterr().out) == [{"name": "päckchen"}]
