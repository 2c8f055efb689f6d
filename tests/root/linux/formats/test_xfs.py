"""An xfs that needs a person."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import FsType
from driver.linux.formats import filesystem
from tests.root.linux.conftest import Attach, blank
from tests.root.linux.images import (
    make,
)


def test_an_xfs_that_wants_a_repair_is_refused(attach: Attach, tmp_path: Path) -> None:
    image = make(FsType.XFS, blank(tmp_path / "image"))
    words = ["-x", "-c", "sb 0", "-c", "write features_incompat 0x1b"]
    subprocess.run(["xfs_db", *words, image], check=True, capture_output=True)
    volume = attach(FsType.XFS, image=image, mounted=False)
    with pytest.raises(Refused, match="xfs_repair"):
        filesystem.check(volume.status.path, FsType.XFS)
