"""Parsers for the options and locations of pools. The chart's schema names each of them.

Their ValueError or Invalid says what was expected; `PoolType.read` adds the pool and the option.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from driver.core.model import GIB, Allocation
from driver.core.quantity import parse_share
from driver.linux.disks.find_filesystem import DiskSource

DISK: Final = r"(UUID=[0-9A-Fa-f-]{36}|LABEL=[A-Za-z0-9_.+-]{1,255}|/dev/[^,\s]+)"


def read_path(text: str) -> Path:
    """Return the absolute path in `text`. Raises: ValueError: it is relative, or contains `..`."""
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not an absolute path")
    return Path(text)


def read_allocation(text: str) -> Allocation:
    """Return the allocation that `text` names, thick or sparse. Raises: ValueError: it is another
    one.

    Thin is not accepted: thin volumes exist in thin pools only, and those have no allocation
    option.
    """
    accepted = [Allocation.THICK, Allocation.SPARSE]
    if text not in accepted:
        raise ValueError(f"one of {', '.join(accepted)} is expected")
    return Allocation(text)


def read_overcommit(text: str) -> float:
    """Return the overcommit factor in `text`, such as 1.5. Raises: ValueError: it is no number
    above 0.
    """
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or float(text) <= 0:
        raise ValueError("a number above 0 is expected, as in 1.5")
    return float(text)


def read_reserve(text: str) -> str:
    """Return `text` unchanged if it is a size or a percentage of the pool. Raises: Invalid: it is
    neither.
    """
    parse_share(text, GIB)
    return text


def read_disk(text: str) -> DiskSource:
    """Return which disk `text` names: by its filesystem's UUID or label, or by its path. Raises:
    ValueError: it has none of these forms.
    """
    if not re.fullmatch(DISK, text, re.ASCII) or ".." in text.split("/"):
        raise ValueError("UUID=..., LABEL=... or a path below /dev is expected")
    key, equals, value = text.partition("=")
    return DiskSource(key, value) if equals and "/" not in key else DiskSource("", text)


def read_boolean(text: str) -> bool:
    """Return True for "true" and False for "false". Raises: ValueError for any other text."""
    if text not in {"true", "false"}:
        raise ValueError("true or false is expected")
    return text == "true"
