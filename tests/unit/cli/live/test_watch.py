from __future__ import annotations

import json
from itertools import islice

import pytest

from driver.cli.live import watch
from driver.cli.live.watch import changes, print_or_watch
from driver.cli.output import Column, Output, Row

ID, STATE = Column("id", lambda row: row["id"]), Column("state", lambda row: row["state"])


def rows(**states: str) -> list[Row]:
    return [{"id": name, "state": state} for name, state in states.items()]


def test_only_what_changed_is_printed_again() -> None:
    answers = iter([rows(a="ok", b="ok"), rows(a="broken", b="ok"), rows(a="broken", c="ok")])
    slept: list[float] = []
    changed = changes(
        rows(a="ok"), lambda: next(answers), name="id", deleted={"state": "-"}, sleep=slept.append
    )
    assert [(row["id"], row["state"], row.get("deleted")) for row in islice(changed, 4)] == [
        ("b", "ok", None),
        ("a", "broken", None),
        ("c", "ok", None),
        ("b", "-", True),
    ]
    assert slept == [watch.SLEEP] * 3


class Interrupted(Exception):
    """What ends a watch in a test, as Ctrl-C does."""


def watched(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([rows(a="ok"), rows(a="broken")])
    monkeypatch.setattr(watch, "SLEEP", 0)

    def ask() -> list[Row]:
        for answer in answers:
            return answer
        raise Interrupted

    with pytest.raises(Interrupted):
        print_or_watch(output, [ID, STATE], ask, watch=True)


def test_a_table_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched(Output.TABLE, monkeypatch)
    assert capsys.readouterr().out.splitlines() == ["ID  STATE", "a   ok", "a   broken"]


def test_json_has_a_row_in_each_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched(Output.JSON, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["ok", "broken"]


def test_without_watch_it_is_asked_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_or_watch(Output.NAME, [ID], lambda: rows(a="ok"), watch=False)
    assert capsys.readouterr().out == "a\n"
