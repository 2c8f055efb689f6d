"""A rule that selects disks by model, size, kind of medium and path."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import Bytes
from driver.core.quantity import parse_bytes
from driver.linux.disks.block_device import BlockDevice

FORM: Final = "model=PATTERN;sizeMin=SIZE;rotational=true|false;path=PATTERN, some of them"
_PATTERN: Final = re.compile(r"[*?\[]")
_BETWEEN: Final = re.compile(r":(?=/)")  # paths; a colon inside of one is never before a slash


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRule:
    """The conditions that a disk must meet to be selected. `size_min`: the smallest size in bytes;
    `rotational`: None: either; `path`: a path of the disk or of a link to it; several are separated
    by `:`.

    `model` and `path` may have the wildcards of fnmatch(3); "" matches any disk.
    """

    model: str = ""
    size_min: Bytes = 0
    rotational: bool | None = None
    path: str = ""

    @property
    def named_paths(self) -> tuple[str, ...]:
        """Return the rule's paths without wildcards, each of which names a single disk."""
        return tuple(path for path in self._paths if path and not _PATTERN.search(path))

    @property
    def _paths(self) -> Sequence[str]:
        return _BETWEEN.split(self.path)

    def names(self, device: BlockDevice) -> bool:
        """Return whether one of the rule's paths without wildcards leads to this disk."""
        return any(self.leads_to(path, device) for path in self.named_paths)

    def selects(self, device: BlockDevice) -> bool:
        """Return whether the device meets all conditions of the rule."""
        return (
            (not self.model or fnmatchcase(device.model, self.model))
            and device.size >= self.size_min
            and self.rotational in {None, device.rotational}
            and (not self.path or self._has_path(device))
        )

    def _has_path(self, device: BlockDevice) -> bool:
        return self.names(device) or any(
            fnmatchcase(str(each), path)
            for path in self._paths
            for each in (device.path, *device.links)
        )

    @staticmethod
    def leads_to(path: str, device: BlockDevice) -> bool:
        """Return whether `path`, without wildcards, is a path of the device or of a link to it."""
        return os.path.realpath(path) == str(device.path) or path in map(str, device.links)


def parse_rule(text: str) -> DiskRule:
    """Parse a rule such as `model=PATTERN;sizeMin=SIZE`, the conditions that a disk must meet.
    Raises: ValueError: it has another form; Invalid: a size is malformed.
    """
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
    for each in filter(None, _BETWEEN.split(path)):
        if not each.startswith("/dev/") or ".." in each.split("/"):
            raise Invalid("path is a path below /dev, or a pattern of such paths")
    return DiskRule(
        model=pairs.get("model", ""),
        size_min=parse_bytes(pairs.get("sizeMin", "0")),
        rotational=None if rotational is None else rotational == "true",
        path=path,
    )
