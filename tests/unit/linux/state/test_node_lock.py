"""One driver of a name on a node, by a lock on its folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.linux import flocks
from driver.linux.state.node_lock import lock_node

NAME = "cellar.csi.internal"


def test_the_second_driver_of_a_name_is_refused_with_what_to_do(tmp_path: Path) -> None:
    fd = lock_node(tmp_path / NAME, NAME)
    assert fd is not None
    with pytest.raises(Refused, match=r"another driver named cellar\.csi\.internal.*nodeGroups"):
        lock_node(tmp_path / NAME, NAME, timeout=0.3)
    other = lock_node(tmp_path / "other", "other", timeout=0)
    assert other is not None
    for each in (fd, other):
        os.close(each)


def test_a_driver_that_leaves_is_waited_for(tmp_path: Path) -> None:
    fd = lock_node(tmp_path / NAME, NAME)
    assert fd is not None
    threading.Timer(0.3, os.close, [fd]).start()
    following = lock_node(tmp_path / NAME, NAME)
    assert following is not None
    os.close(following)


def test_one_that_was_killed_and_is_stuck_keeps_nobody_from_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = lock_node(tmp_path / NAME, NAME)
    assert fd is not None
    monkeypatch.setattr(flocks, "held_by_killed_processes", lambda fd: True)
    assert lock_node(tmp_path / NAME, NAME, timeout=0) is None
    os.close(fd)
