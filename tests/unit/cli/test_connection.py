"""What the commands that ask a driver have in common: where it listens, and what is said if not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import (
    SNAPSHOT,
    run,
)


def test_the_endpoint_may_come_from_the_environment(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLAR_ENDPOINT", endpoint)
    assert SNAPSHOT in run("snapshots")


def test_without_an_endpoint_the_cure_is_said() -> None:
    assert "CELLAR_ENDPOINT" in run("volumes", status=2)


def test_a_socket_that_nobody_listens_on_is_said_in_one_line(tmp_path: Path) -> None:
    said = run("volumes", "--endpoint", f"unix://{tmp_path}/no.sock", status=1)
    assert "nothing answers" in said
    assert len(said.splitlines()) == 1
