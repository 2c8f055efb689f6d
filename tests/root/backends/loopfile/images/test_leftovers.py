"""What a call that was cut short leaves in a pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.images import layout
from driver.linux.mounts.freeze import Freezer
from tests.root.backends.loopfile.conftest import (
    a_volume,
    nothing,
    open_pool,
)

pytestmark = pytest.mark.root


def test_what_a_crash_left_is_swept_when_the_pool_is_opened(
    pool: loopfile.Loopfile, pool_dir: Path, freezer: Freezer
) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    pool.close()
    for name in (f".new-{volume.id}", f".del-{volume.id}-1"):
        (pool_dir / name).mkdir()
        (pool_dir / name / layout.DISK).write_bytes(b"x")
    again = open_pool(pool_dir, freezer)
    assert sorted(one.name for one in pool_dir.iterdir() if one.name.startswith(".new")) == []
    assert sorted(one.name for one in pool_dir.iterdir() if one.name.startswith(".del")) == []
    assert again.find(volume.id) == volume
    again.close()


def test_a_sweep_does_not_follow_links(
    pool: loopfile.Loopfile, pool_dir: Path, freezer: Freezer, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    pool.close()
    (pool_dir / ".new-link").mkdir()
    (pool_dir / ".new-link" / "out").symlink_to(precious)
    again = open_pool(pool_dir, freezer)
    _ = again.id
    assert (precious / "file").exists()
    again.close()
