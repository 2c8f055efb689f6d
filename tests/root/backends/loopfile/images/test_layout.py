"""An image's folder, while it is made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.core.errors import PoolUnavailable
from driver.core.model import MIB, Allocation
from tests.root.backends.loopfile.conftest import (
    a_volume,
    image_of,
    nothing,
    write_all,
)

pytestmark = pytest.mark.root


def test_an_image_is_whole_though_its_disk_came_off_and_on_while_it_was_made(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    [device] = {
        line.split(" - ")[1].split()[1]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == os.fspath(pool_dir)
    }
    volume, other = a_volume(pool, size=64 * MIB), a_volume(pool, "other", size=64 * MIB)
    pool.create(other, nothing)
    before = pool.capacity(Allocation.THICK).largest

    def came_off(image: Path) -> None:
        write_all(image)
        subprocess.run(["umount", "--lazy", pool_dir], check=True)
        with pytest.raises(PoolUnavailable):
            _ = pool.id
        subprocess.run(["mount", device, pool_dir], check=True)
        assert pool.find(other.id) == other
        assert before - pool.capacity(Allocation.THICK).largest >= volume.size

    pool.create(volume, came_off)
    found = image_of(pool_dir, volume).stat()
    assert (found.st_size, found.st_blocks * 512 >= volume.size) == (volume.size, True)
    assert set(pool.images()) == {volume, other}
