"""Nothing stays frozen, whoever dies; and what stood still did so for the whole time."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.errors import Busy
from driver.core.model import FsType
from driver.linux.mounts import freeze, mount
from driver.linux.mounts.freeze import Freezer
from driver.linux.mounts.thaw import FIFREEZE, FITHAW
from tests.root.linux.conftest import Attach, Volume

LONG = 60.0  # seconds; a bound that no test reaches
QUICK = 5.0  # seconds that a machine with much to do may take for what takes milliseconds


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    freezer = Freezer()
    yield freezer
    freezer.close()  # the second time does nothing


@pytest.fixture
def three(attach: Attach) -> Iterator[list[Volume]]:
    volumes = [attach(fs) for fs in FsType]
    yield volumes
    for volume in volumes:
        freeze.thaw(volume.target)  # a failed test must not hang the next ones


def frozen(target: Path) -> bool:
    """By trying: a filesystem can be frozen only once."""
    fd = os.open(target, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
        fcntl.ioctl(fd, FITHAW, 0)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return True
    finally:
        os.close(fd)
    return False


def thawed_within(seconds: float, target: Path) -> bool:
    end = time.monotonic() + seconds
    while frozen(target) and time.monotonic() < end:
        time.sleep(0.005)
    return not frozen(target)


def test_writers_wait_until_the_thaw(freezer: Freezer, three: list[Volume]) -> None:
    held = freezer.freeze([one.target for one in three], LONG)
    done = []
    writers = [
        threading.Thread(target=lambda one=one: done.append((one.target / "new").touch()))
        for one in three
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(0.05)
    assert not done
    held.thaw()
    for writer in writers:
        writer.join(10)
    assert len(done) == 3
    assert not any(frozen(one.target) for one in three)


def test_several_freezes_at_a_time(freezer: Freezer, three: list[Volume]) -> None:
    held = [freezer.freeze([one.target], LONG) for one in three]
    for each, volume in zip(held, three, strict=True):
        each.thaw()
        assert not frozen(volume.target)
    assert not any(frozen(one.target) for one in three)


def test_the_bound_thaws_by_itself_and_is_told(freezer: Freezer, three: list[Volume]) -> None:
    places = [one.target for one in three]
    held, other = freezer.freeze(places[:2], 1.0), freezer.freeze(places[2:], LONG)
    assert all(thawed_within(QUICK, place) for place in places[:2])
    assert frozen(places[2])
    with pytest.raises(Busy, match="longer"):
        held.thaw()
    other.thaw()


def test_a_bound_that_is_too_short_to_freeze(freezer: Freezer, three: list[Volume]) -> None:
    places = [one.target for one in three]
    with pytest.raises(Busy):
        freezer.freeze(places, 0.0).thaw()
    freezer.close()  # waits for what could not be stopped any more
    assert not any(frozen(place) for place in places)


def test_what_somebody_else_froze_counts_and_stays(freezer: Freezer, three: list[Volume]) -> None:
    places = [one.target for one in three]
    subprocess.run(["fsfreeze", "--freeze", places[1]], check=True)
    held = freezer.freeze(places, LONG)
    held.thaw()
    assert [frozen(place) for place in places] == [False, True, False]
    subprocess.run(["fsfreeze", "--unfreeze", places[1]], check=True)


def test_one_that_cannot_be_frozen_thaws_all(freezer: Freezer, three: list[Volume]) -> None:
    places = [one.target for one in three]
    with pytest.raises(OSError, match="FIFREEZE") as caught:
        freezer.freeze([*places, Path("/proc")], LONG)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert not any(frozen(place) for place in places)


def test_a_killed_parent_thaws_at_once(three: list[Volume]) -> None:
    program = (
        "import sys, time; from pathlib import Path; from driver.linux.mounts.freeze import Freezer;"
        "held = Freezer().freeze([Path(one) for one in sys.argv[1:]], 60.0);"
        "print(flush=True); time.sleep(60)"
    )
    places = [one.target for one in three]
    parent = subprocess.Popen([sys.executable, "-c", program, *places], stdout=subprocess.PIPE)
    assert parent.stdout
    parent.stdout.readline()
    assert all(frozen(place) for place in places)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert all(thawed_within(QUICK, place) for place in places)


def test_a_killed_child_loses_nothing(freezer: Freezer, three: list[Volume]) -> None:
    """They stay frozen until the parent thaws them itself, so what it did meanwhile is good."""
    places = [one.target for one in three]
    held = freezer.freeze(places, LONG)
    os.kill(freezer._pid, signal.SIGKILL)
    os.waitid(os.P_PID, freezer._pid, os.WEXITED | os.WNOWAIT)
    assert all(frozen(place) for place in places)
    held.thaw()
    assert not any(frozen(place) for place in places)
    freezer.freeze(places, LONG).thaw()
    assert not any(frozen(place) for place in places)


def test_a_killed_child_and_somebody_who_thawed(freezer: Freezer, three: list[Volume]) -> None:
    places = [one.target for one in three]
    held = freezer.freeze(places, LONG)
    os.kill(freezer._pid, signal.SIGKILL)
    subprocess.run(["fsfreeze", "--unfreeze", places[1]], check=True)
    with pytest.raises(Busy):
        held.thaw()
    assert not any(frozen(place) for place in places)


def test_a_stopped_child_is_not_waited_for(freezer: Freezer, three: list[Volume]) -> None:
    places = [one.target for one in three]
    held = freezer.freeze(places, LONG)
    os.kill(freezer._pid, signal.SIGSTOP)
    os.waitid(os.P_PID, freezer._pid, os.WSTOPPED | os.WNOWAIT)  # all its threads
    try:
        held.thaw()
        assert not any(frozen(place) for place in places)
    finally:
        os.kill(freezer._pid, signal.SIGCONT)
        freezer.close()  # it holds the directories until it has heard of their thaw


def test_closing_thaws_what_is_left(three: list[Volume]) -> None:
    freezer = Freezer()
    held = freezer.freeze([three[0].target], 0.5)
    freezer.close()
    assert not frozen(three[0].target)
    with pytest.raises(Busy):
        held.thaw()


def test_one_can_be_thawed_without_the_child(volume: Volume) -> None:
    freeze.thaw(volume.target)
    subprocess.run(["fsfreeze", "--freeze", volume.target], check=True)
    freeze.thaw(volume.target)
    assert not frozen(volume.target)


def test_what_nobody_thaws_is_thawed_when_it_is_forgotten(freezer: Freezer, volume: Volume) -> None:
    held = freezer.freeze([volume.target], LONG)
    held._undo.close()
    assert not frozen(volume.target)


def test_a_sync_leaves_nothing_to_write(volume: Volume) -> None:
    (volume.target / "file").write_bytes(os.urandom(1 << 20))
    freeze.sync(volume.target)
    assert (volume.target / "file").stat().st_blocks * 512 >= 1 << 20


def test_a_hundred_freezes_leave_nothing_behind(freezer: Freezer, attach: Attach) -> None:
    volume = attach(FsType.XFS)
    threads = Path(f"/proc/{freezer._pid}/task")
    descriptors = Path(f"/proc/{freezer._pid}/fd")
    for _ in range(100):
        freezer.freeze([volume.target], LONG).thaw()
    end = time.monotonic() + QUICK
    while len(list(threads.iterdir())) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(list(threads.iterdir())) == 1
    assert len(list(descriptors.iterdir())) == 4
    mount.unmount(volume.target)
