"""What filesystems tell about the extents of a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.linux import fiemap, files
from driver.linux.fiemap import mapped

MIB = 1 << 20
BLOCK = 4096
MakePool = Callable[..., Path]


@pytest.fixture
def image(pool_dir: Path) -> Path:
    path = pool_dir / "disk.img"
    files.create(path, 64 * MIB, nocow=False, extent_hint=0)
    return path


def write(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def spans(path: Path) -> list[tuple[int, int]]:
    """Start and end, neighbours joined."""
    joined: list[tuple[int, int]] = []
    for extent in mapped(path):
        if joined and joined[-1][1] == extent.start:
            joined[-1] = joined[-1][0], extent.start + extent.length
        else:
            joined.append((extent.start, extent.start + extent.length))
    return joined


def test_a_file_of_holes_has_nothing(image: Path) -> None:
    assert list(mapped(image)) == []


def test_what_was_just_written_is_there_in_order(image: Path) -> None:
    write(image, 8 * MIB, b"x" * MIB)
    write(image, 0, b"x" * BLOCK)
    assert spans(image) == [(0, BLOCK), (8 * MIB, 9 * MIB)]
    assert not any(extent.unwritten or extent.shared for extent in mapped(image))


def test_what_is_only_allocated_is_unwritten(image: Path) -> None:
    files.allocate(image, 64 * MIB)
    write(image, MIB, b"x" * MIB)
    assert spans(image) == [(0, 64 * MIB)]
    written = [extent for extent in mapped(image) if not extent.unwritten]
    assert [(extent.start, extent.length) for extent in written] == [(MIB, MIB)]


def test_what_a_clone_shares_is_told(image: Path) -> None:
    if files.filesystem_type(image) == "ext4":
        pytest.skip("ext4 has no reflinks")
    write(image, 0, b"x" * 2 * MIB)
    copy = image.with_name("copy.img")
    files.create(copy, 64 * MIB, nocow=False, extent_hint=0)
    files.reflink(image, copy)
    write(image, MIB, b"y" * MIB)
    assert [extent.shared for extent in mapped(image)] == [True, False]
    assert next(iter(list(mapped(copy)))).shared


def test_more_extents_than_are_asked_for_at_a_time_all_come_once(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fiemap, "CHUNK", 7)
    starts = [number * 2 * BLOCK for number in range(100)]
    with image.open("r+b") as file:
        for start in starts:
            file.seek(start)
            file.write(b"x" * BLOCK)
    assert [extent.start for extent in mapped(image)] == starts


def test_an_exact_chunk_ends(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fiemap, "CHUNK", 2)
    write(image, 0, b"x" * BLOCK)
    write(image, 8 * BLOCK, b"x" * BLOCK)
    assert spans(image) == [(0, BLOCK), (8 * BLOCK, 9 * BLOCK)]


def test_compressed_bytes_have_no_address_of_their_own(make_pool: MakePool) -> None:
    pool = make_pool("btrfs", options="compress-force=zstd")
    path = pool / "text"
    path.write_bytes(b"x" * MIB)
    assert {extent.at for extent in mapped(path)} == {None}
    assert spans(path) == [(0, MIB)]


def test_bytes_that_lie_in_the_inode_are_at_no_address_of_their_own(make_pool: MakePool) -> None:
    path = make_pool("btrfs") / "short"
    path.write_bytes(b"x" * 100)
    assert [extent.at for extent in mapped(path)] == [None]


def test_a_clone_has_its_bytes_at_the_same_place_until_they_are_overwritten(image: Path) -> None:
    if files.filesystem_type(image) == "ext4":
        pytest.skip("ext4 has no reflinks")
    write(image, 0, b"x" * 4 * MIB)
    copy = image.with_name("copy.img")
    files.create(copy, 64 * MIB, nocow=False, extent_hint=0)
    files.reflink(image, copy)
    assert addresses(copy) == addresses(image)
    write(image, MIB, b"x" * MIB)  # the same bytes, elsewhere
    mine, others = addresses(copy), addresses(image)
    differing = {at for at in mine if mine[at] != others[at]}
    assert differing == set(range(MIB, 2 * MIB, BLOCK))


def addresses(path: Path) -> dict[int, int]:
    """Of each block."""
    found: dict[int, int] = {}
    for extent in mapped(path):
        assert extent.at is not None
        for offset in range(0, extent.length, BLOCK):
            found[extent.start + offset] = extent.at + offset
    return found


def test_what_is_located_begins_where_it_is_asked_for(image: Path) -> None:
    files.allocate(image, 64 * MIB)
    for number in range(4):
        write(image, number * 4 * MIB, b"x" * MIB)
    every = fiemap.physical_extents(image, 0, 100)
    assert [(one.start, one.length) for one in every] == [(n * 4 * MIB, MIB) for n in range(4)]
    assert fiemap.physical_extents(image, MIB, 2) == every[1:3]
    [rest] = fiemap.physical_extents(image, 12 * MIB + BLOCK, 100)
    assert rest.end == 13 * MIB
    assert rest.at is not None
    assert every[3].at is not None
    assert rest.at - rest.start == every[3].at - every[3].start
    assert fiemap.physical_extents(image, 13 * MIB, 100) == []


def test_a_loop_that_stops_early_leaves_no_descriptor(image: Path) -> None:
    write(image, 0, b"x" * BLOCK)
    for _ in mapped(image):
        break


def test_a_device_has_no_extents_to_tell() -> None:
    with pytest.raises(OSError):
        list(mapped(Path("/dev/zero")))


def test_the_numbers_agree_with_filefrag(image: Path) -> None:
    for number in range(20):
        write(image, number * 3 * MIB, b"x" * (number + 1) * BLOCK)
    said = subprocess.run(
        ["filefrag", "-s", "-b4096", "-e", image], capture_output=True, text=True, check=True
    )
    rows = [line.split(":") for line in said.stdout.splitlines() if line.strip()[:1].isdigit()]
    told = [tuple(int(row[n].split("..")[0]) * BLOCK for n in (1, 2)) for row in rows]
    assert [(extent.start, extent.at) for extent in mapped(image)] == told
