"""Who holds a flock(2), and whether it still runs."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux import flocks
from tests.support.waiting import wait_until

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    path = tmp_path / "marker"
    path.touch()
    return path


@pytest.fixture
def holder(marker: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock of `marker` until its stdin ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, marker], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdin
        assert child.stdout.readline() == b"locked\n"
        yield child
        child.stdin.close()


@pytest.fixture
def fd(marker: Path) -> Iterator[int]:
    opened = os.open(marker, os.O_RDWR)
    yield opened
    os.close(opened)


def test_the_holders_elsewhere_are_told_with_the_file_that_they_have_open(
    marker: Path, holder: subprocess.Popen[bytes], fd: int
) -> None:
    assert (holder.pid, marker) in set(flocks.other_holders(fd, "marker"))
    assert list(flocks.other_holders(fd, "another name")) == []


def test_the_own_lock_is_held_by_nobody_else(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert os.getpid() not in [pid for pid, _ in flocks.other_holders(fd, "marker")]


def test_a_lock_of_the_living_is_not_one_of_the_dying(
    holder: subprocess.Popen[bytes], fd: int
) -> None:
    assert flocks._holders(fd) == [holder.pid]
    assert not flocks.held_by_killed_processes(fd)


def test_an_open_file_that_nobody_locked_is_not_held_by_the_dying(fd: int) -> None:
    """All of no holders have ended, and that is no lock."""
    assert not flocks.held_by_killed_processes(fd)


def test_a_waiter_is_no_holder(marker: Path, holder: subprocess.Popen[bytes], fd: int) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, marker], stdin=subprocess.DEVNULL) as waiter:

        def waits() -> bool:
            return f"-> FLOCK  ADVISORY  WRITE {waiter.pid} " in Path("/proc/locks").read_text()

        wait_until(waits)
        assert flocks._holders(fd) == [holder.pid]
        waiter.kill()


def test_a_process_that_was_killed_has_ended_before_its_parent_knows() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert not flocks._has_ended(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert flocks._has_ended(child.pid)
    assert not flocks._has_ended(child.pid)  # gone by now: its lock is free
