"""Images of ext4, as mkfs describes them."""

from __future__ import annotations

import re
from pathlib import Path

from driver.core.model import Bytes
from driver.linux import command, files
from tests.root.linux.conftest import SIZE


def image(path: Path, size: Bytes = SIZE) -> Path:
    path.unlink(missing_ok=True)
    files.create(path, size, nocow=False, extent_hint=0)
    return path


def described(where: Path, *more: str) -> str:
    return command.run(["dumpe2fs", *more, where], timeout=60)


def uuid_in(where: Path, *more: str) -> str:
    found = re.search(r"Filesystem UUID: +(\S+)", described(where, "-h", *more))
    assert found
    return found[1]
