"""CRC-32C (Castagnoli), with which xfs and btrfs seal their superblocks; zlib has only CRC-32."""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # 0x1EDC6F41 with its bits reversed: RFC 3720, appendix B.4


def crc32c(*parts: bytes) -> int:
    """Of `parts` one after the other; about 50 ns for each byte."""
    crc, table = 0xFFFFFFFF, _TABLE
    for part in parts:
        for byte in part:
            crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_entry(value) for value in range(256))
