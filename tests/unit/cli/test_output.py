from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from driver.cli import output
from driver.cli.output import Column, Output, Row, format_rows, print_rows


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


def column(key: str, *, number: bool = False, wide: bool = False) -> Column:
    return Column(
        key,
        lambda row: row[key],
        number=number,
        wide=wide,
        alarm=lambda row: row[key] == "broken",
    )


def test_a_table_in_a_pipe_has_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = iter([{"name": "x" * 300, "number": "1"}, {"name": "y", "number": "20"}])
    print_rows(Output.TABLE, [column("name"), column("number", number=True)], rows)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "NUMBER"]
    assert first.split() == ["x" * 300, "1"]
    assert second.endswith(" 20")


def test_a_table_is_shown_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    """Of ten thousand rows the first are there before the last is known."""
    shown: list[int] = []

    def rows() -> Iterator[Row]:
        for number in range(2000):
            if number == 1500:
                shown.append(len(capsys.readouterr().out.splitlines()))
            yield {"id": f"volume {number}", "note": "wider than before" if number == 1999 else ""}

    print_rows(Output.TABLE, [column("id"), column("note")], rows())
    assert shown == [1501]
    assert capsys.readouterr().out.splitlines()[-1].split("  ")[-1] == "wider than before"


def test_columns_stand_below_each_other_in_any_script(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "日本", "size": "1"}, {"name": "e\u0301t\u00e9", "size": "20"}]
    print_rows(Output.TABLE, [column("name"), column("size", number=True)], rows)
    assert capsys.readouterr().out.splitlines() == [
        "NAME  SIZE",
        "日本     1",
        "e\u0301t\u00e9     20",
    ]


def test_wide_columns_are_shown_on_request() -> None:
    columns, rows = [column("id"), column("note", wide=True)], [{"id": "a", "note": "b"}]
    assert list(format_rows(Output.TABLE, columns, rows)) == ["ID", "a"]
    assert list(format_rows(Output.WIDE, columns, rows)) == ["ID  NOTE", "a   b"]


def test_colours_are_added_for_a_terminal_only() -> None:
    rows = [{"id": "broken"}, {"id": "ok"}]
    plain = list(format_rows(Output.TABLE, [column("id")], rows))
    coloured = list(format_rows(Output.TABLE, [column("id")], rows, colours=True))
    assert plain == ["ID", "broken", "ok"]
    assert coloured == ["\x1b[1mID\x1b[0m", "\x1b[31mbroken\x1b[0m", "ok"]


def test_no_text_of_others_controls_the_terminal() -> None:
    *_, line = format_rows(Output.TABLE, [column("id")], [{"id": "a\x1b[2Jb\nc"}])
    assert line == "a\ufffd[2Jb\ufffdc"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_json(count: int) -> None:
    rows = [{"id": "päckchen", "nodes": ["a", "b"], "source": {}}] * count
    text = "\n".join(format_rows(Output.JSON, [], rows))
    assert text == json.dumps(rows, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_yaml_is_yaml(count: int) -> None:
    rows = [{"id": "päckchen: 1", "nodes": ["a", "b"], "long": "x " * 500}] * count
    assert yaml.safe_load("\n".join(format_rows(Output.YAML, [], rows))) == rows


def test_names_are_what_other_commands_take() -> None:
    assert list(format_rows(Output.NAME, [], [{"id": "a"}, {"id": "b"}])) == ["a", "b"]
    assert list(format_rows(Output.NAME, [], [{"name": "fast"}], name="name")) == ["fast"]
