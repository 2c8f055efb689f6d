"""The vectors of RFC 3720, appendix B.4."""

from __future__ import annotations

import pytest

from driver.linux.formats.crc32c import crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_the_vectors_come_out(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def test_parts_are_as_good_as_the_whole() -> None:
    assert crc32c(b"1234", b"", b"56789") == crc32c(b"123456789")
