"""Where signatures lie, and what they are called: on files."""

from __future__ import annotations

import pytest

from driver.core.model import GIB, KIB, MIB
from driver.linux.disks import blank_scan, signatures
from driver.linux.disks.signatures import SIGNATURES, signature_spans
from tests.unit.linux.disks.conftest import FAST, SIZE, Disk


@pytest.mark.parametrize("size", [MIB, 9 * MIB, 11 * MIB, SIZE, 64 * MIB + 4096, 300 * GIB])
def test_the_known_places_lie_on_the_disk_in_order_and_do_not_overlap(size: int) -> None:
    spans = signature_spans(size)
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


def test_a_page_of_64_kib_has_its_swap_signature_at_its_end(disk: Disk) -> None:
    found = blank_scan.find_signature(disk((64 * KIB - 10, b"SWAPSPACE2")), SIZE)
    assert found.startswith("swap at")


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
