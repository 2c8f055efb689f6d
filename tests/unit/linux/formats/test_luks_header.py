"""The header of a LUKS2 container, and its copy. See the LUKS2 On-Disk Format Specification, 2.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.core.model import KIB, MIB
from driver.linux.formats import luks_header

UUID = "1d2c3b4a-0000-4000-8000-0123456789ab"


def image(path: Path, *writes: tuple[int, bytes]) -> Path:
    disk = path / "disk.img"
    content = bytearray(16 * MIB)
    for at, data in writes:
        content[at : at + len(data)] = data
    disk.write_bytes(content)
    return disk


HEADER = (0, b"LUKS\xba\xbe\x00\x02")
NAME = (168, UUID.encode() + b"\0")  # char uuid[40]


def test_the_uuid_is_in_the_header(tmp_path: Path) -> None:
    disk = image(tmp_path, HEADER, NAME)
    assert luks_header.read_uuid(disk) == UUID
    assert luks_header.is_present(disk)


@pytest.mark.parametrize("kib", [16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
def test_a_copy_counts_wherever_the_format_has_it(tmp_path: Path, kib: int) -> None:
    """Who overwrote the beginning has not lost the keys."""
    disk = image(tmp_path, (kib * KIB, b"SKUL\xba\xbe"))
    assert luks_header.read_uuid(disk) == ""
    assert luks_header.is_present(disk)


@pytest.mark.parametrize(
    "write", [(8 * KIB, b"SKUL\xba\xbe"), (16 * KIB, b"LUKS\xba\xbe"), (0, b"SKUL\xba\xbe"), NAME]
)
def test_the_same_bytes_elsewhere_are_no_header(tmp_path: Path, write: tuple[int, bytes]) -> None:
    assert not luks_header.is_present(image(tmp_path, write))


def test_what_is_too_short_for_a_header_has_none(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"LUKS")
    assert not luks_header.is_present(short)
