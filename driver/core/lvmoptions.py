"""Options of LVM pools that say where the group is. ValueError says what was expected."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

UUID: Final = "([A-Za-z0-9]{32}|[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6})"
_PATH: Final = re.compile(r"/[^,\s]*", re.ASCII)
_GROUPS: Final = (0, 6, 10, 14, 18, 22, 26, 32)  # where LVM sets dashes into a UUID


def read_devices(text: str) -> tuple[str, ...]:
    """Return the paths of devices in `text`, which has colons between them. A colon inside of a
    path is never before a slash. Raises: ValueError: a path is not absolute, or has `..`.
    """
    paths = tuple(re.split(r":(?=/)", text))
    if not all(map(_PATH.fullmatch, paths)) or any(".." in path.split("/") for path in paths):
        raise ValueError("absolute paths of devices are expected, with `:` between them")
    return paths


def read_uuid(text: str) -> str:
    """Return the UUID of a volume group with dashes, as `vgs -o vg_uuid` shows it; `text` may be
    without. Raises: ValueError.
    """
    if not re.fullmatch(UUID, text, re.ASCII):
        raise ValueError("the UUID of a volume group is expected, as `vgs -o vg_uuid` shows it")
    plain = text.replace("-", "")
    return "-".join(plain[start:end] for start, end in pairwise(_GROUPS))
