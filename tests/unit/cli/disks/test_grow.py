"""`cellar pools grow`, against a driver that is a fake, and a filesystem that is one too."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import GIB, Bytes
from driver.linux.disks import pool_growth
from tests.unit.cli.conftest import run


def test_a_pool_that_has_grown_says_from_what_to_what(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    sizes = [(GIB, 2 * GIB), (2 * GIB, 2 * GIB)]

    def grow(location: Path) -> tuple[Bytes, Bytes]:
        asked.append(location)
        return sizes.pop(0)

    monkeypatch.setattr(pool_growth, "grow_filesystem", grow)
    said = run("pools", "grow", "fast", "--endpoint", endpoint)
    assert "fast has grown from 1 GiB to 2 GiB" in said
    assert "fills its disk already" in run("pools", "grow", "fast", "--endpoint", endpoint)
    assert asked == [Path("/srv/fast")] * 2


def test_what_cannot_grow_is_said(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(location: Path) -> tuple[Bytes, Bytes]:
        raise Refused(f"{location} is tmpfs")

    monkeypatch.setattr(pool_growth, "grow_filesystem", refuse)
    for name, text in (
        ("fast", "is tmpfs"),
        ("slow", "is unavailable"),
        ("none", "no pool 'none'; there are fast, slow"),
    ):
        assert text in run("pools", "grow", name, "--endpoint", endpoint, status=1)
