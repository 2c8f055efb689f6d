"""Nothing stays frozen, whoever dies; and what stood still did so for the whole time."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from pathlib import Path

import pytest

from driver.core.errors import Busy
from driver.core.model import FsType
from driver.linux.mounts import freeze, mount
from driver.linux.mounts.freeze import Freezer
from tests.root.linux.conftest import Attach, Volume
from tests.root.linux.mounts.conftest import frozen
from tests.support.waiting import wait_until

LONG = 60.0  # seconds; a bound that no test reaches
QUICK = 5.0  # seconds that a machine with much to do may take for what takes milliseconds


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
    wait_until(lambda: len(list(threads.iterdir())) == 1)
    assert len(list(descriptors.iterdir())) == 4
    mount.unmount(volume.target)
