"""The table of signatures, and the reading of a disk: on files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driver.core.errors import Refused
from driver.core.model import GIB, KIB, MIB
from driver.linux.disks import blank_scan, signatures
from driver.linux.disks.blank_scan import Rate
from driver.linux.disks.libblkid import _describe
from driver.linux.disks.signatures import SIGNATURES, places

SIZE = 200 * MIB + 512
FAST = Rate(1 << 50)
Disk = Callable[..., int]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """`disk((offset, bytes), ...)` returns a descriptor of a file that has only these bytes."""
    fds = []

    def make(*parts: tuple[int, bytes], size: int = SIZE) -> int:
        path = tmp_path / "disk"
        with path.open("wb") as file:
            file.truncate(size)
            for at, data in parts:
                os.pwrite(file.fileno(), data, at)
        try:
            fds.append(os.open(path, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            fds.append(os.open(path, os.O_RDONLY))  # a tmpfs before Linux 6.6
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("size", [MIB, 9 * MIB, 11 * MIB, SIZE, 64 * MIB + 4096, 300 * GIB])
def test_the_known_places_lie_on_the_disk_in_order_and_do_not_overlap(size: int) -> None:
    spans = places(size)
    ends = [span.start + span.length for span in spans]
    assert spans[0].start == 0
    assert ends[-1] == size
    assert all(end <= span.start for end, span in zip(ends, spans[1:], strict=False))
    assert all(span.start % 4096 == 0 and span.length > 0 for span in spans)
    assert size - spans[-1].start >= min(size, MIB), "the last MiB is read"


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.name)
def test_each_signature_is_found_at_each_of_its_places_that_is_on_the_disk(
    signature: signatures._Signature, disk: Disk
) -> None:
    offsets = [at for at in signature.offsets(SIZE) if 0 <= at < SIZE]
    for at in (offsets[0], offsets[-1]):
        found = blank_scan.find_signature(disk((at, signature.magic)), SIZE)
        assert found.endswith(f"at byte {at}")
        assert found.startswith(signature.name)


def test_a_blank_disk_has_nothing_anywhere(disk: Disk) -> None:
    fd = disk()
    assert not blank_scan.find_signature(fd, SIZE)
    done: list[int] = []
    assert not blank_scan.find_data(fd, SIZE, FAST, done.append)
    assert done[-1] == SIZE
    assert done == sorted(done)


@pytest.mark.parametrize(
    "at", [0, 1, 8 * MIB - 1, 8 * MIB, 77 * MIB + 13, SIZE - 2 * MIB, SIZE - 1]
)
def test_a_single_byte_is_found_wherever_it_is(at: int, disk: Disk) -> None:
    fd = disk((at, b"\x01"))
    assert blank_scan.find_data(fd, SIZE, FAST) == f"data of an unknown kind at byte {at}"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"Dear diary,\n", "text"),
        (b"XFSB", "a copy of an xfs superblock"),
        (b"LABELONE", "a label of LVM"),
        (b"SKUL\xba\xbe\0\2", "a second LUKS2 header"),
        (b"\x7fELF", "data of an unknown kind"),
    ],
)
def test_the_first_data_are_described(data: bytes, name: str, disk: Disk) -> None:
    at = 100 * MIB
    assert blank_scan.find_data(disk((at, data)), SIZE, FAST) == f"{name} at byte {at}"


def test_a_disk_that_ends_early_is_refused(disk: Disk) -> None:
    with pytest.raises(Refused, match="before its size"):
        blank_scan.find_data(disk(), SIZE + MIB, FAST)


def test_a_disk_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Refused, match="cannot be read at byte 0"):
            blank_scan.find_data(fd, SIZE, FAST)
    finally:
        os.close(fd)


def test_reading_keeps_to_its_rate(disk: Disk) -> None:
    slept: list[float] = []
    rate = Rate(100 * MIB, now=lambda: 0.0, sleep=slept.append)
    blank_scan.find_data(disk(), SIZE, rate)
    assert slept[-1] == pytest.approx(SIZE / (100 * MIB))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "DEVNAME=/dev/x\nLABEL=a\\ b\nTYPE=swap\nUSAGE=other\n",
            "swap (other) with the label 'a b'",
        ),
        ("DEVNAME=/dev/x\nTYPE=xfs\nUSAGE=filesystem\n", "xfs (filesystem)"),
        ("DEVNAME=/dev/x\nPTTYPE=gpt\n", "a partition table (gpt)"),
        ("DEVNAME=/dev/x\n", "something that libblkid recognizes"),
    ],
)
def test_a_probe_of_libblkid_is_said_in_a_few_words(text: str, words: str) -> None:
    assert _describe(text) == words


def test_a_page_of_64_kib_has_its_swap_signature_at_its_end(disk: Disk) -> None:
    found = blank_scan.find_signature(disk((64 * KIB - 10, b"SWAPSPACE2")), SIZE)
    assert found.startswith("swap at")
