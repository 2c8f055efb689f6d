"""Which checks `cellar doctor` makes."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from driver.cli.doctor import inspection
from driver.core.findings import Level
from tests.unit.cli.conftest import app, run


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


def test_a_driver_is_asked_too(sound: None, tmp_path: Path) -> None:
    said = run("doctor", "--endpoint", f"unix://{tmp_path}/csi.sock", status=1)
    assert "problem  driver" in said


def test_a_socket_where_nobody_listens_is_a_problem(tmp_path: Path) -> None:
    finding = inspection.check_driver(f"unix://{tmp_path}/csi.sock")
    assert finding.level is Level.PROBLEM
    assert "cellar serve --endpoint" in finding.cure
