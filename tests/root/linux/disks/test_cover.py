"""The disk stays held while programs write to the loop device over it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.linux.devices import loop
from driver.linux.disks import pool_filesystem
from tests.support.blank_disks import BlankDisk


def test_nobody_can_use_the_disk_until_it_is_made(
    disk: BlankDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the last check until the program that writes has it: O_EXCL fails all the time."""
    tried = []
    make = pool_filesystem.make

    def attempt() -> None:
        said = subprocess.run(
            ["mount", "-t", "xfs", str(disk.path), str(tmp_path)], capture_output=True, check=False
        )
        with pytest.raises(OSError, match="busy"):
            os.close(os.open(disk.path, os.O_RDONLY | os.O_EXCL))
        tried.append(said.returncode)

    def and_others_try(*arguments: object) -> None:
        attempt()
        make(*arguments)  # type: ignore[arg-type]
        attempt()

    monkeypatch.setattr(pool_filesystem, "make", and_others_try)
    disk.create()
    assert len(tried) == 2
    assert 0 not in tried
    os.close(os.open(disk.path, os.O_RDONLY | os.O_EXCL))


def test_killed_while_it_makes_the_filesystem_it_leaves_no_loop_device_and_no_pool(
    disk: BlankDisk,
) -> None:
    script = """
import os, signal, sys
from driver.linux.disks import pool_filesystem
make = pool_filesystem.make
def killed(*arguments):
    make(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
pool_filesystem.make = killed
from driver.cli.main import main
main(["pools", "create", "fast", "--disk", sys.argv[1], "--yes"])
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(disk.path)], check=False, capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    end = time.monotonic() + 10
    while [each for each in loop.list_bound() if loop.read_parent(each.path)]:
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(Refused, match="cellar-fast"):
        disk.create()
