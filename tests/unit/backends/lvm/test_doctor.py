"""What the doctor says about a machine for LVM."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.lvm import doctor
from driver.backends.lvm.options import Options
from driver.backends.pool_type import ConfiguredPool
from driver.core.findings import Level
from driver.core.ports.memory_records import MemoryRecords
from driver.linux import command


def test_what_is_missing_comes_with_the_packages_that_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "missing", lambda programs: ("lvm", "thin_check"))
    programs, mapper = doctor.check_machine(tmp_path / "control")
    assert programs.level is mapper.level is Level.PROBLEM
    assert programs.cure == "apt install lvm2 thin-provisioning-tools"
    assert "modprobe dm-mod" in mapper.cure


def test_a_machine_with_all_of_it_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "missing", lambda programs: ())
    (tmp_path / "control").touch()
    assert {finding.level for finding in doctor.check_machine(tmp_path / "control")} == {Level.OK}


def test_a_pool_is_not_looked_at_without_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "missing", lambda programs: ("lvm",))
    pool = ConfiguredPool("p", "vg", Options())
    assert list(doctor.check_pool(pool, "cellar", MemoryRecords())) == []
