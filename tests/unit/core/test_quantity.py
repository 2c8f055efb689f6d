"""Sizes as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.model import GIB, KIB, MIB
from driver.core.quantity import parse_bytes, show_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (KIB, "1 KiB"),
        (3 * KIB // 2, "1.5 KiB"),
        (300 * MIB, "300 MiB"),
        (GIB - 1, "1023.99 MiB"),
        (10 * GIB - 1, "9.99 GiB"),
        (10 * GIB, "10 GiB"),
        (1 << 70, "1048576 PiB"),
    ],
)
def test_a_size_has_a_unit_and_at_most_two_decimals(size: int, text: str) -> None:
    assert show_bytes(size) == text


@given(st.integers(0, 1 << 60))
def test_what_is_shown_is_never_more_than_what_is_there(size: int) -> None:
    value, unit = show_bytes(size).split()
    whole, _, rest = value.partition(".")
    factor = 1 if unit == "bytes" else parse_bytes(f"1{unit}")
    text = (int(whole) * 100 + int(rest.ljust(2, "0") or 0)) * factor
    assert text <= size * 100 < text + factor
