"""A file to try things on."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.linux import files

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    files.create(path, MIB, nocow=True, extent_hint=MIB)
    return path
