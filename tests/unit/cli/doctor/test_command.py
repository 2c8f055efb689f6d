from __future__ import annotations

import json

import pytest

from driver.cli.doctor import inspection
from driver.core import findings
from tests.unit.cli.conftest import run


def test_a_sound_machine_has_status_0(sound: None) -> None:
    assert run("doctor") == "ok       machine  is sound\n"


def test_a_warning_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [findings.warning("disk", "is slow", "buy another")]
    monkeypatch.setattr(inspection, "check_machine", lambda _: found)
    assert run("doctor") == "warning  disk  is slow → buy another\n"


def test_a_problem_has_status_1_and_its_cure_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [findings.problem("kernel", "very " * 40 + "old", "upgrade")]
    monkeypatch.setattr(inspection, "check_machine", lambda _: found)
    said = run("doctor", status=1)
    assert len(said.splitlines()) == 1
    assert said.endswith("old → upgrade\n")


def test_findings_as_json(sound: None) -> None:
    [row] = json.loads(run("doctor", "-o", "json"))
    assert row == {"level": "ok", "what": "machine", "text": "is sound", "cure": ""}


def test_a_wrong_setting_is_a_problem(sound: None) -> None:
    said = run("doctor", "--pool", "fast", status=1)
    assert "problem  configuration" in said
    assert "NAME=TYPE:WHERE" in said
