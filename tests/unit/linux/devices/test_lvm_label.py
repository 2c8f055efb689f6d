"""LVM's labels and metadata headers on disks."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from driver.linux.devices import lvm_label


def a_disk(path: Path, *, areas: tuple[int, ...] = (4096,), mark: bytes = b"first") -> Path:
    """The first sectors of a physical volume, as pvcreate writes them."""
    image = bytearray(1 << 20)
    image[512:544] = struct.pack("<8sQII8s", b"LABELONE", 1, 0, 32, b"LVM2 001")
    lists = struct.pack("<QQ", 1 << 20, 0) + bytes(16)
    lists += b"".join(struct.pack("<QQ", at, 1 << 19) for at in areas) + bytes(16)
    image[544 + 40 : 544 + 40 + len(lists)] = lists
    for at in areas:
        image[at : at + len(mark)] = mark
    path.write_bytes(image)
    return path


def test_the_stamp_changes_with_the_header_of_any_metadata_area(tmp_path: Path) -> None:
    first, second = a_disk(tmp_path / "first"), a_disk(tmp_path / "second", areas=(4096, 65536))
    before = lvm_label.read_headers([first, second])
    assert lvm_label.read_headers([first, second]) == before
    a_disk(second, areas=(4096, 65536), mark=b"second")
    assert lvm_label.read_headers([first, second]) != before


def test_a_disk_without_metadata_has_no_part_in_the_stamp(tmp_path: Path) -> None:
    assert lvm_label.read_headers([a_disk(tmp_path / "one", areas=())]) == b""


def test_what_has_no_label_is_no_disk(tmp_path: Path) -> None:
    unlabelled = tmp_path / "unlabelled"
    unlabelled.write_bytes(bytes(8192))
    assert not lvm_label.has_label(unlabelled)
    assert not lvm_label.has_label(tmp_path / "none")
    assert lvm_label.has_label(a_disk(tmp_path / "disk"))
    with pytest.raises(OSError):
        lvm_label.read_headers([unlabelled])
