"""The vectors of RFC 3720, appendix B.4."""

from __future__ import annotations

import pytest

from driver.linux.formats.crc32c import changed_bits, crc32c


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


@pytest.mark.parametrize("behind", [0, 1, 900])
@pytest.mark.parametrize("difference", [b"", b"\0", b"\1\0\xff" * 5, bytes(range(16))])
def test_a_change_changes_every_checksum_by_the_same_bits(difference: bytes, behind: int) -> None:
    for filling in (b"\0", b"\x5a", b"\xff"):
        before, changed, after = (filling * length for length in (7, len(difference), behind))
        new = bytes(one ^ other for one, other in zip(changed, difference, strict=True))
        bits = crc32c(before, changed, after) ^ crc32c(before, new, after)
        assert changed_bits(difference, behind) == bits


def test_parts_are_as_good_as_the_whole() -> None:
    assert crc32c(b"1234", b"", b"56789") == crc32c(b"123456789")
