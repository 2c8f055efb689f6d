"""A rule that selects disks: by model, size, kind of medium and path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import Bytes
from driver.core.quantity import parse_bytes
from driver.linux.disks.block_device import BlockDevice

FORM: Final = "model=PATTERN;sizeMin=SIZE;rotational=true|false;path=PATTERN, some of them"
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRule:
    """What a disk must be, to be selected. `path`: of the disk, or of a link to it.

    `model` and `path` may have the wildcards of fnmatch(3); "" selects any.
    """

    model: str = ""
    size_min: Bytes = 0
    rotational: bool | None = None
    path: str = ""

    @property
    def names_a_disk(self) -> bool:
        """Whether the path is that of one disk, so that an administrator has named it."""
        return bool(self.path) and not _PATTERN.search(self.path)

    def selects(self, device: BlockDevice) -> bool:
        """Return whether the device is what the rule asks for."""
        return (
            (not self.model or fnmatchcase(device.model, self.model))
            and device.size >= self.size_min
            and self.rotational in {None, device.rotational}
            and (not self.path or self._has_path(device))
        )

    def _has_path(self, device: BlockDevice) -> bool:
        if self.names_a_disk and os.path.realpath(self.path) == str(device.path):
            return True
        return any(fnmatchcase(str(path), self.path) for path in (device.path, *device.links))


def parse_rule(text: str) -> DiskRule:
    """Return the rule that a text of the form FORM describes. Raises: ValueError, Invalid."""
    pairs = dict[str, str]()
    for part in text.split(";"):
        key, equals, value = part.partition("=")
        if not equals or not value or key in pairs:
            raise ValueError(f"{FORM}, is expected")
        pairs[key] = value
    if unknown := pairs.keys() - {"model", "sizeMin", "rotational", "path"}:
        raise ValueError(f"{', '.join(sorted(unknown))}: {FORM}, is expected")
    rotational = pairs.get("rotational")
    if rotational not in {None, "true", "false"}:
        raise ValueError("rotational is true or false")
    path = pairs.get("path", "")
    if path and (not path.startswith("/dev/") or ".." in path.split("/")):
        raise Invalid("path is a path below /dev, or a pattern of such paths")
    return DiskRule(
        model=pairs.get("model", ""),
        size_min=parse_bytes(pairs.get("sizeMin", "0")),
        rotational=None if rotational is None else rotational == "true",
        path=path,
    )
