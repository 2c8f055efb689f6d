"""The child that thaws, whatever becomes of it or of its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from driver.core.errors import Busy
from driver.linux.mounts.freeze import Freezer
from tests.root.linux.conftest import Volume
from tests.root.linux.mounts.conftest import frozen

LONG = 60.0  # seconds; a bound that no test reaches
QUICK = 5.0  # seconds that a machine with much to do may take for what takes milliseconds


def thawed_within(seconds: float, target: Path) -> bool:
    end = time.monotonic() + seconds
    while frozen(target) and time.monotonic() < end:
        time.sleep(0.005)
    return not frozen(target)


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
