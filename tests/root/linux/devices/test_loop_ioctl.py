"""Nodes of loop devices that /dev lacks, and settings of the kernel that refuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.linux.devices import loop, loop_ioctl
from tests.root.linux.devices.conftest import (
    attach,
    backing,
)


def test_a_node_that_dev_lacks_is_made(plain: Path) -> None:
    """A container's /dev is a tmpfs with the nodes of the moment when it was started."""
    status = attach(plain)
    try:
        status.path.unlink()
        assert loop.find(backing(plain)) == status
        assert status.path.stat().st_rdev == status.number
    finally:
        loop.detach(status, bound=5)


def test_nodes_can_be_made_only_of_what_the_kernel_knows() -> None:
    with pytest.raises(FileNotFoundError), loop_ioctl.OpenedNode("/dev/loop99999", os.O_RDONLY):
        pass


def test_discards_that_stay_on_are_an_error(
    plain: Path, own_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_ioctl, "attribute", lambda *_: b"4096")
    with pytest.raises(OSError, match="discards cannot be turned off"):
        attach(plain, discards=False)
    assert loop.find(backing(plain)) is None
