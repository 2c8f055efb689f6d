"""Copies of volumes in use: what is shared before the freeze, and what is left of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import layout
from driver.linux import fiemap, files
from tests.root.backends.loopfile.conftest import (
    a_snapshot,
    a_volume,
    image_of,
    nothing,
    write_all,
)

pytestmark = pytest.mark.root


def test_bytes_are_shared_before_the_freeze_where_that_shortens_it(
    pool: loopfile.Loopfile, pool_dir: Path
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    write_all(image_of(pool_dir, volume))
    snapshot = a_snapshot(pool, volume)
    building = pool_dir / layout.building_name(snapshot.id)
    committed = pool.state().capacity.committed
    with pool.share_ahead(snapshot):
        assert building.exists() == (files.filesystem_type(pool_dir) == "xfs")
        if building.exists():
            assert all(extent.shared for extent in fiemap.mapped(building / layout.DISK))
    assert not building.exists()
    assert list(pool.images()) == [volume]
    assert pool.state().capacity.committed == committed


def test_an_image_is_made_of_what_was_shared_ahead(pool: loopfile.Loopfile, pool_dir: Path) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    write_all(image_of(pool_dir, volume))
    snapshot = a_snapshot(pool, volume)
    if pool.shares(volume.id):
        with pool.share_ahead(snapshot):
            write_all(image_of(pool_dir, volume))
            pool.create(snapshot, nothing)
        copy = layout.disk(pool_dir, snapshot.id)
        assert copy.read_bytes() == image_of(pool_dir, volume).read_bytes()
    assert not list(pool_dir.glob(".new-*"))
