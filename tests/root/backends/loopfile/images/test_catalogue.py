"""The images of a pool in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import layout
from driver.core.errors import Conflict, Damaged, NotFound
from driver.linux.mounts.freeze import Freezer
from tests.root.backends.loopfile.conftest import (
    a_volume,
    image_of,
    nothing,
    open_pool,
)

pytestmark = pytest.mark.root


def test_a_damaged_record_is_left_alone_and_its_name_is_taken(
    pool: loopfile.Loopfile, pool_dir: Path, freezer: Freezer
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    (pool_dir / str(volume.id) / layout.RECORD).write_text("{")
    pool.close()
    again = open_pool(pool_dir, freezer)
    with pytest.raises(Damaged):
        again.find(volume.id)
    assert [one.kind for one in again.faults(None)] == ["RecordDamaged"]
    with pytest.raises(Conflict):
        again.create(volume, nothing)
    assert image_of(pool_dir, volume).stat().st_size == volume.size
    again.close()


def test_a_record_of_an_earlier_life_is_refused(pool: loopfile.Loopfile) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    with pytest.raises(NotFound):
        pool.record(replace(volume, incarnation="f" * 16))
