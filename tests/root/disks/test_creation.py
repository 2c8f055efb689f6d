"""Pools of blank disks: made once, and never of disks that change meanwhile."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import MIB
from driver.disks import creation
from driver.linux.disks import blank_scan, find_filesystem
from driver.linux.disks.block_devices import read_device
from tests.support.blank_disks import BlankDisk, MakeDisk


def test_a_pool_is_refused_as_the_disk_of_another(disk: BlankDisk) -> None:
    disk.create()
    before = disk.digest()
    with pytest.raises(Refused, match=r"xfs \(filesystem\) with the label 'cellar-fast'"):
        disk.create()
    assert disk.digest() == before


def test_two_processes_that_want_one_disk_make_one_pool(disk: BlankDisk) -> None:
    words = [sys.executable, "-m", "driver", "pools", "create", "fast", "--yes"]
    words += ["--disk", str(disk.path)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "ab"]
    for each in both:
        each.communicate()
    assert sorted(each.returncode for each in both) in ([0, 1], [1, 1])
    if 0 not in [each.returncode for each in both]:  # each saw the other, and both gave way
        creation.create(disk.plan(), lambda device, done: None)
    found = find_filesystem.read(disk.path)
    assert found
    assert found.label == "cellar-fast"


def test_the_command_asks_and_says_how_the_pool_is_used(disk: BlankDisk, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "driver", "pools", "create", "fast", "--where", str(tmp_path)]
    words += ["--disk", str(disk.path)]
    asked = subprocess.run(
        words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert asked.returncode == 1
    assert "nothing was done" in asked.stderr
    assert "read all 400 MiB" in asked.stdout
    assert not any(disk.image.read_bytes())
    done = subprocess.run([*words, "--yes"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"--pool fast=loopfile:{tmp_path},disk={disk.path}" in done.stdout
    again = subprocess.run([*words, "--yes"], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "nothing was written to it" in again.stderr


def test_what_is_written_while_the_disk_is_read_is_found_before_anything_is_made(
    disk: BlankDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_somebody_writes(fd: int, size: int, *rest: object) -> str:
        disk.write((0, b"a late signature"))
        return ""

    monkeypatch.setattr(blank_scan, "find_data", and_somebody_writes)
    before = disk.digest()
    with pytest.raises(Refused, match="text at byte 0"):
        disk.create()
    disk.write((0, bytes(16)))
    assert disk.digest() == before


def test_a_disk_that_was_exchanged_between_the_plan_and_the_creation(disk: BlankDisk) -> None:
    before = disk.digest()
    for fact in ({"sequence": "1"}, {"size": disk.size + 512}, {"number": 12345}):
        changed = replace(read_device(disk.path), **fact)
        with pytest.raises(Refused, match=r"another (device|size)|not the device any more"):
            disk.create(devices=(changed,))
    assert disk.digest() == before


def test_of_two_disks_neither_is_written_to_if_one_is_not_blank(make_disk: MakeDisk) -> None:
    first, second = make_disk(), make_disk()
    second.write((301 * MIB, b"somebody's"))
    before = first.digest(), second.digest()
    plan = first.plan(
        kind="lvm", devices=(read_device(first.path), read_device(second.path)), location="x"
    )
    with ExitStack() as stack:
        disks = [stack.enter_context(creation._held(device, plan)) for device in plan.devices]
        with pytest.raises(Refused, match=second.path.name):
            creation._require_blank(disks, plan, lambda device, done: None)
    assert (first.digest(), second.digest()) == before
