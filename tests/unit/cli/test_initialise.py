"""`cellar pools init`: the marker, the settings that name the pool, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import run


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
