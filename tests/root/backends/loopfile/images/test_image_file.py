"""The file of an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.backends.loopfile import backend as loopfile
from tests.root.backends.loopfile.conftest import (
    a_volume,
    image_of,
    nothing,
)

pytestmark = pytest.mark.root


def test_a_thick_volume_is_allocated(pool: loopfile.Loopfile, pool_dir: Path) -> None:
    volume = a_volume(pool)
    pool.create(volume, nothing)
    assert image_of(pool_dir, volume).stat().st_blocks * 512 >= volume.size
