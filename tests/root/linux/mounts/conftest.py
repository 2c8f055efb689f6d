"""Frozen filesystems, and how soon they are thawed."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux.mounts import freeze
from driver.linux.mounts.freeze import Freezer
from driver.linux.mounts.thaw import FIFREEZE, FITHAW
from tests.root.linux.conftest import Attach, Volume


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
