"""Superblocks are told apart, and nothing that a disk may hold makes the reader fail."""

from __future__ import annotations

import uuid
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from driver.core.model import FsType
from driver.linux.formats import superblock
from driver.linux.formats.superblock import PAGE, Superblock

ID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
GIB = 1 << 30
SPAN = 68 << 10  # btrfs has its superblock at 64 KiB


def write_at(image: bytearray, at: int, raw: bytes) -> None:
    image[at : at + len(raw)] = raw


def little(value: int, length: int) -> bytes:
    return value.to_bytes(length, "little")


def ext4(*, state: int = 1, incompat: int = 0x80, blocks: int = GIB >> 12) -> bytes:
    image = bytearray(SPAN)
    write_at(image, 1024 + 0x04, little(blocks & 0xFFFFFFFF, 4))
    write_at(image, 1024 + 0x18, little(2, 4))
    write_at(image, 1024 + 0x38, little(0xEF53, 2))
    write_at(image, 1024 + 0x3A, little(state, 2))
    write_at(image, 1024 + 0x60, little(incompat, 4))
    write_at(image, 1024 + 0x68, ID.bytes)
    write_at(image, 1024 + 0x150, little(blocks >> 32, 4))
    return bytes(image)


def xfs(*, in_progress: int = 0, incompat: int = 0) -> bytes:
    image = bytearray(SPAN)
    write_at(image, 0, b"XFSB" + (4096).to_bytes(4, "big") + (GIB >> 12).to_bytes(8, "big"))
    write_at(image, 32, ID.bytes)
    write_at(image, 126, bytes([in_progress]))
    write_at(image, 216, incompat.to_bytes(4, "big"))
    return bytes(image)


def btrfs(*, flags: int = 1, log_root: int = 0) -> bytes:
    image = bytearray(SPAN)
    write_at(image, 65536 + 0x20, ID.bytes)
    write_at(image, 65536 + 0x38, little(flags, 8))
    write_at(image, 65536 + 0x40, b"_BHRfS_M")
    write_at(image, 65536 + 0x60, little(log_root, 8))
    write_at(image, 65536 + 0xD1, little(GIB, 8))
    return bytes(image)


def expected(fs: FsType, *, clean: bool = True, errors: bool = False) -> Superblock:
    return Superblock(fs=fs, uuid=str(ID), size=GIB, clean=clean, errors=errors)


def parse(image: bytes) -> Superblock | None:
    return superblock.parse(lambda at: image[at : at + PAGE])


def test_an_ext4_is_read() -> None:
    assert parse(ext4()) == expected(FsType.EXT4)
    assert parse(ext4(state=3)) == expected(FsType.EXT4, errors=True)
    assert parse(ext4(state=0)) == expected(FsType.EXT4, clean=False)
    assert parse(ext4(incompat=0x84)) == expected(FsType.EXT4, clean=False)


def test_an_ext4_of_more_than_16_tebibytes_has_its_size() -> None:
    parsed = parse(ext4(blocks=5 << 32))
    assert parsed
    assert parsed.size == 5 << 44


def test_the_high_bits_of_a_32_bit_ext4_do_not_count() -> None:
    parsed = parse(ext4(blocks=5 << 32 | 7, incompat=0))
    assert parsed
    assert parsed.size == 7 << 12


def test_an_xfs_is_read() -> None:
    assert parse(xfs()) == expected(FsType.XFS)
    assert parse(xfs(in_progress=1)) == expected(FsType.XFS, clean=False, errors=True)
    assert parse(xfs(incompat=0x10)) == expected(FsType.XFS, errors=True)


def test_a_btrfs_is_read() -> None:
    assert parse(btrfs()) == expected(FsType.BTRFS)
    assert parse(btrfs(log_root=4096)) == expected(FsType.BTRFS, clean=False)
    assert parse(btrfs(flags=1 << 36)) == expected(FsType.BTRFS, clean=False)
    assert parse(btrfs(flags=4)) == expected(FsType.BTRFS, errors=True)


def test_what_a_user_wrote_at_another_ones_place_does_not_count() -> None:
    """The block at 64 KiB may be a user's own where the filesystem is small."""
    for owner, fs in [(xfs(), FsType.XFS), (ext4(), FsType.EXT4)]:
        assert parse(owner[:65536] + btrfs()[65536:]) == expected(fs)
    both = xfs()[:1024] + ext4()[1024:]
    assert parse(both) == expected(FsType.XFS)


def test_blank_is_none() -> None:
    assert parse(bytes(SPAN)) is None
    assert parse(b"") is None


@given(
    st.sampled_from([ext4(), xfs(), btrfs()]),
    st.lists(st.tuples(st.integers(0, SPAN - 1), st.binary(min_size=1, max_size=64))),
    st.integers(0, SPAN),
)
@example(ext4(), [(1024 + 0x18, b"\xff\xff\xff\xff")], SPAN)
def test_no_damage_makes_it_fail(
    image: bytes, damage: list[tuple[int, bytes]], length: int
) -> None:
    broken = bytearray(image)
    for at, raw in damage:
        write_at(broken, at, raw)
    parse(bytes(broken[:length]))


def test_a_file_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(ext4())
    assert superblock.read(image) == expected(FsType.EXT4)
    image.write_bytes(b"")
    assert superblock.read(image) is None
