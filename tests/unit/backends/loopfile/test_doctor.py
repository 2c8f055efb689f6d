"""What the doctor says about pools of loop files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.backends.loopfile import doctor
from driver.core.findings import Level
from driver.core.ports.memory_records import MemoryRecords
from driver.linux import flocks


def test_a_pool_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    [finding] = doctor.check_pool("fast", tmp_path / "none", MemoryRecords(), init=False)
    assert finding.level is Level.PROBLEM
    assert "mount its disk" in finding.cure


def test_a_directory_without_a_marker_is_a_problem_with_the_command_that_makes_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "something").touch()
    finding, *_ = doctor.check_pool("fast", tmp_path, MemoryRecords(), init=False)
    assert finding.level is Level.PROBLEM
    assert f"cellar pools init fast --pool fast=loopfile:{tmp_path}" in finding.cure


def test_looking_at_a_pool_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".cellar-pool.json").write_text("{}")
    before = tmp_path.stat().st_mode, os.listdir(tmp_path)
    findings = list(doctor.check_pool("fast", tmp_path, MemoryRecords(), init=False))
    assert all(one.level is not Level.PROBLEM for one in findings)
    assert len(findings) == 4
    assert (tmp_path.stat().st_mode, os.listdir(tmp_path)) == before


def test_a_directory_whose_disk_is_missing_is_a_problem_also_with_init(tmp_path: Path) -> None:
    known = MemoryRecords()
    known.write(str(tmp_path), {"pool": "0123456789ab", "filesystem": "another"})
    finding, *_ = doctor.check_pool("fast", tmp_path, known, init=True)
    assert finding.level is Level.PROBLEM
    assert "0123456789ab on another filesystem" in finding.text


def test_pools_on_one_filesystem_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flocks, "other_holders", lambda *_: [])  # of other tests
    for name in "ab":
        (tmp_path / name).mkdir()
    directories = {"a": tmp_path / "a", "b": tmp_path / "b", "none": tmp_path / "none"}
    [finding] = doctor.check_shared_filesystems(directories)
    assert (finding.subject, finding.level) == ("pools a, b", Level.WARNING)
    assert "share its free space" in finding.text
