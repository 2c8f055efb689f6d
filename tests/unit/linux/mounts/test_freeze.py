"""The child that freezes: started, asked, killed, ended. /proc cannot be frozen, so nothing is."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.linux.mounts import freeze
from driver.linux.mounts.freeze import Freezer
from tests.support.waiting import wait_until

PLACE = Path("/proc")
UNFREEZABLE = {errno.EOPNOTSUPP, errno.EPERM}  # not root: EPERM comes first


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    freezer = Freezer()
    yield freezer
    freezer.close()


def refused(freezer: Freezer, count: int = 1) -> int:
    with pytest.raises(OSError, match="FIFREEZE") as caught:
        freezer.freeze([PLACE] * count, 5.0)
    return caught.value.errno or 0


def test_an_error_comes_through(freezer: Freezer) -> None:
    assert refused(freezer) in UNFREEZABLE


def test_more_places_than_a_message_can_carry(freezer: Freezer) -> None:
    assert refused(freezer, 600) in UNFREEZABLE


def test_a_place_that_is_not_there_is_never_sent(freezer: Freezer) -> None:
    with pytest.raises(FileNotFoundError):
        freezer.freeze([PLACE, Path("/missing")], 5.0)


def test_no_places_are_frozen_at_once(freezer: Freezer) -> None:
    freezer.freeze([], 5.0).thaw()


def test_several_threads_freeze_at_a_time(freezer: Freezer) -> None:
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(refused(freezer))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert set(seen) <= UNFREEZABLE


def test_the_child_outlives_what_ends_others(freezer: Freezer) -> None:
    wait_for_name(freezer._pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(freezer._pid, number)
    pid = freezer._pid
    assert refused(freezer) in UNFREEZABLE
    assert freezer._pid == pid


def test_the_child_is_in_a_group_of_its_own_and_small(freezer: Freezer) -> None:
    wait_for_name(freezer._pid)
    assert os.getpgid(freezer._pid) == freezer._pid
    status = Path(f"/proc/{freezer._pid}/status").read_text()
    [rss] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    assert rss < 16 * 1024  # KiB, most of it shared with every other Python


def test_the_child_holds_nothing_that_was_inherited() -> None:
    inherited, other = os.pipe()
    os.set_inheritable(inherited, True)
    try:
        freezer = Freezer()
        wait_for_name(freezer._pid)
        folder = Path(f"/proc/{freezer._pid}/fd")
        wait_until(lambda: len(list(folder.iterdir())) <= 4)
        assert sorted(int(one.name) for one in folder.iterdir()) == [0, 1, 2, 3]
        freezer.close()
    finally:
        os.close(inherited)
        os.close(other)


def test_a_killed_child_is_started_anew(freezer: Freezer) -> None:
    pid = freezer._pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert refused(freezer) in UNFREEZABLE
    assert freezer._pid != pid


def test_the_child_leaves_with_its_parent() -> None:
    freezer = Freezer()
    pid = freezer._pid
    freezer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_sync_is_content(tmp_path: Path) -> None:
    freeze.sync(PLACE)
    with pytest.raises(FileNotFoundError):
        freeze.sync(tmp_path / "missing")


def wait_for_name(pid: int) -> None:
    """The child has settled when it has its name."""
    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "cellar-thaw\n")
