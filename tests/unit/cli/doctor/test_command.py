from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from driver.cli import tables
from driver.cli.doctor import command, inspection
from driver.core import findings

app = typer.Typer()
app.command("doctor")(command.command)
app.add_typer(tables.pools, name="pools")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CELLAR_"):
            monkeypatch.delenv(name)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fault."""
    monkeypatch.setattr(inspection, "check_machine", lambda _: [findings.ok("machine", "is sound")])


def run(*words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == status, result.output
    return result.output


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


def test_every_look_at_this_machine_gives_lines() -> None:
    """Whatever it finds here: no check raises."""
    rows = json.loads(CliRunner().invoke(app, ["doctor", "-o", "json"]).output)
    assert {"user", "kernel", "loop devices", "kernel events", "kubelet"} <= {
        row["what"] for row in rows
    }


def test_configured_pools_are_looked_at(sound: None, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    said = run("doctor", "--pool", f"fast=loopfile:{tmp_path}", "--pool", "s=memory:1GiB", status=1)
    assert "pool fast" in said
    assert "cellar pools init fast" in said
    assert "pool s" not in said


def test_a_wrong_setting_is_a_problem(sound: None) -> None:
    said = run("doctor", "--pool", "fast", status=1)
    assert "problem  configuration" in said
    assert "NAME=TYPE:WHERE" in said


def test_a_driver_is_asked_too(sound: None, tmp_path: Path) -> None:
    said = run("doctor", "--endpoint", f"unix://{tmp_path}/csi.sock", status=1)
    assert "problem  driver" in said


def test_init_makes_a_marker_once(tmp_path: Path) -> None:
    words = ["pools", "init", "fast", "--pool", f"fast=loopfile:{tmp_path}"]
    said = run(*words)
    marker = json.loads((tmp_path / ".cellar-pool.json").read_text())
    assert marker["id"] in said
    assert marker["owner"] == "cellar.csi.internal"
    assert "is a pool already" in run(*words, status=1)


def test_init_reads_the_file_of_serve(tmp_path: Path) -> None:
    pool, file = tmp_path / "pool", tmp_path / "cellar.yaml"
    pool.mkdir()
    file.write_text(f"driver-name: my.driver\npools: ['fast=loopfile:{pool}']\n")
    run("pools", "init", "fast", "--config", str(file))
    assert json.loads((pool / ".cellar-pool.json").read_text())["owner"] == "my.driver"


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("slow=loopfile:/srv", "no pool 'fast' is configured; there are slow"),
        ("fast=memory:1GiB", "needs no marker"),
        ("fast=loopfile:/nowhere/at/all", "cannot become a pool"),
        ("fast", "NAME=TYPE:WHERE"),
    ],
)
def test_init_refuses_what_cannot_be_and_says_why(pool: str, said: str) -> None:
    assert said in run("pools", "init", "fast", "--pool", pool, status=1)
