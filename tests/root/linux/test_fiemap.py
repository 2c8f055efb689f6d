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


def test_compressed_bytes_are_encoded(make_pool: MakePool) -> None:
    pool = make_pool("btrfs", options="compress-force=zstd")
    path = pool / "text"
    path.write_bytes(b"x" * MIB)
    assert all(extent.encoded for extent in mapped(path))
    assert spans(path) == [(0, MIB)]


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
    told = [int(row[1].split("..")[0]) * BLOCK for row in rows]
    assert [extent.start for extent in mapped(image)] == told
