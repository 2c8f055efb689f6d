"""`cellar pools grow`, against a driver that is a fake, and a filesystem that is one too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.cli.disks import grow
from driver.core.errors import Refused
from driver.core.model import GIB, Bytes
from driver.disks import lvm_growth
from driver.linux.disks import pool_growth
from tests.unit.cli.conftest import run


def test_a_pool_that_has_grown_says_from_what_to_what(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    sizes = [(GIB, 2 * GIB), (2 * GIB, 2 * GIB)]

    def grow_filesystem(location: Path) -> tuple[Bytes, Bytes]:
        asked.append(location)
        return sizes.pop(0)

    monkeypatch.setattr(pool_growth, "grow_filesystem", grow_filesystem)
    said = run("pools", "grow", "fast", "--endpoint", endpoint)
    assert "fast has grown from 1 GiB to 2 GiB" in said
    assert "fills its disk already" in run("pools", "grow", "fast", "--endpoint", endpoint)
    assert asked == [Path("/srv/fast")] * 2


def test_a_volume_group_grows_with_its_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [cellar.Pool(name="thin", type="lvm", where="vg/data", id="0" * 12)]

    @contextmanager
    def connected(_: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(pools=lambda: pools)

    def grow_group(location: str, pool_id: str) -> tuple[Bytes, Bytes]:
        assert (location, pool_id) == ("vg/data", "0" * 12)
        return GIB, 2 * GIB

    monkeypatch.setattr(grow, "connected", connected)
    monkeypatch.setattr(lvm_growth, "grow_group", grow_group)
    assert "thin has grown from 1 GiB to 2 GiB" in run("pools", "grow", "thin")
    pools[0].type = "memory"
    assert "which does not grow" in run("pools", "grow", "thin", status=1)


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
