"""What is run when the disks of a volume group have grown; LVM is simulated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from driver.backends.lvm.pool import identity
from driver.backends.lvm.volume_group import Group
from driver.core.errors import Refused
from driver.core.model import GIB
from driver.disks import lvm_growth, lvm_pool
from driver.linux.devices import lvm

DISKS = (Path("/dev/sda"), Path("/dev/sdb"))


@dataclass(frozen=True)
class Report:
    size: int = 2 * GIB
    free: int = GIB
    disks: tuple[Path, ...] = DISKS
    volumes: dict[str, Any] = field(default_factory=lambda: {"data": SimpleNamespace(size=GIB)})


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was run; pvresize adds 1 GiB to the group."""
    ran: list[tuple[Any, ...]] = []
    now = [Report()]

    def change(disks: Any, *words: str) -> None:
        assert disks == DISKS
        ran.append(words)
        now[0] = replace(now[0], size=3 * GIB, free=2 * GIB)

    monkeypatch.setattr(lvm, "change", change)
    monkeypatch.setattr(Group, "report", lambda _: now[0])
    monkeypatch.setattr(identity, "refuse_trouble", lambda *_: None)
    monkeypatch.setattr(identity, "pool_id", lambda *_: "0" * 12)
    monkeypatch.setattr(lvm_pool, "extend_thin_pool", lambda _, *words: ran.append(words))
    return ran


def test_all_disks_of_a_group_are_resized(ran: list[tuple[Any, ...]]) -> None:
    assert lvm_growth.grow_group("vg", "0" * 12) == (2 * GIB, 3 * GIB)
    assert ran == [("pvresize", "/dev/sda", "/dev/sdb")]


def test_a_thin_pool_gets_what_the_group_gained(ran: list[tuple[Any, ...]]) -> None:
    assert lvm_growth.grow_group("vg/data", "0" * 12) == (GIB, GIB)
    assert ran == [("pvresize", "/dev/sda", "/dev/sdb"), ("data", GIB)]


def test_another_pool_of_the_name_is_left_alone(ran: list[tuple[Any, ...]]) -> None:
    with pytest.raises(Refused, match="another pool"):
        lvm_growth.grow_group("vg", "1" * 12)
    assert ran == []
