"""What only loop files can suffer: files that go, records that rot, space that is shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.core.errors import Damaged
from driver.core.model import MIB
from tests.root.backends.loopfile.conftest import (
    a_volume,
    image_of,
    nothing,
)

pytestmark = pytest.mark.root


def test_a_missing_image_is_a_fault_and_is_never_made_again(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    image_of(pool_dir, volume).unlink()
    assert [one.kind for one in pool.faults(volume.id)] == ["BackingFileGone"]
    with pytest.raises(Damaged):
        pool.attach(volume, read_only=False)
    assert not image_of(pool_dir, volume).exists()
    pool.delete(volume.id)


def test_an_image_shorter_than_recorded_is_a_fault_and_is_not_attached(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    os.truncate(image_of(pool_dir, volume), MIB)
    assert [one.kind for one in pool.faults(volume.id)] == ["BackingFileShort"]
    with pytest.raises(Damaged):
        pool.attach(volume, read_only=False)
    assert image_of(pool_dir, volume).stat().st_size == MIB
