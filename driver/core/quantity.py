"""Sizes as people write them: 512, 10GiB, 10Gi, 10G (all powers of 1024), and percentages: 5%."""

from __future__ import annotations

import re
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import Bytes

_FORM: Final = re.compile(r"([0-9]{1,18})(?:([kmgtp])(?:i|i?b)?)?", re.ASCII | re.IGNORECASE)
_SHARE: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)%", re.ASCII)
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_POWER: Final = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_bytes(text: str) -> Bytes:
    """Return the size in bytes. All units are powers of 1024: 10GiB, 10Gi and 10G are equal.

    Raises: Invalid, whose text names the accepted forms.
    """
    if not (match := _FORM.fullmatch(text.strip())):
        raise Invalid(f"{text!r} is not a size: write bytes, or a number with KiB, MiB, GiB, TiB")
    unit = (match[2] or "").lower()
    factor: int = 1024 ** _POWER.get(unit, 0)
    return int(match[1]) * factor


def parse_share(text: str, total: Bytes) -> Bytes:
    """Return the bytes of a size, or of a percentage (`5%`) of `total` bytes. Raises: Invalid:
    `text` has neither form.
    """
    if match := _SHARE.fullmatch(text.strip()):
        return int(total * float(match[1]) / 100)
    return parse_bytes(text)


def show_bytes(size: Bytes) -> str:
    """Return the size as text such as `1.5 GiB`. It is rounded down, so that the text never shows
    more than there is.
    """
    value, power = size * 100, 0
    while value >= 1024 * 100 and power < len(_UNITS) - 1:
        value, power = value // 1024, power + 1
    whole, rest = divmod(value, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + f" {_UNITS[power]}"
