"""A disk is held only while nobody else has it."""

from __future__ import annotations

import fcntl
import os

import pytest

from driver.core.errors import Refused
from tests.support.blank_disks import BlankDisk


def test_a_disk_that_another_program_has_locked(
    disk: BlankDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driver.linux.disks.held_disk._LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr("driver.linux.disks.usage.processes", lambda device: ())
    fd = os.open(disk.path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        with pytest.raises(Refused, match="another program has locked"):
            disk.create()
    finally:
        os.close(fd)
