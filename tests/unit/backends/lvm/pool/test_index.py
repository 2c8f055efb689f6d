"""The images of a pool, read from the tags of its logical volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.lvm import tags
from driver.backends.lvm.pool.index import Index
from driver.core.errors import Damaged
from driver.core.ids import VolumeId
from driver.core.model import GIB, MIB, Allocation, Image, Volume
from driver.linux.devices.lvm import LogicalVolume, VolumeGroup

POOL = "1" * 12
A, B, C = (
    Volume(
        id=VolumeId(POOL, digit * 32),
        name=digit,
        size=GIB,
        fs=None,
        allocation=Allocation.THICK,
        block_size=4096,
        incarnation=digit * 16,
    )
    for digit in "abc"
)


def lv(image: Image, *more: str, charge: int = 0) -> LogicalVolume:
    return LogicalVolume(
        name=tags.lv_name(image.id),
        uuid="u",
        size=image.size,
        tags=frozenset((*tags.encode(image, charge), *more)),
        layout=frozenset({"linear"}),
        pool="",
        health="",
        queues_when_full=False,
        chunk_size=0,
        zeroes=False,
        discards="",
        areas=1,
        ranges=(),
    )


def group(*volumes: LogicalVolume) -> VolumeGroup:
    by_name: Mapping[str, LogicalVolume] = {volume.name: volume for volume in volumes}
    return VolumeGroup(
        name="vg",
        uuid="U",
        extent_size=4 * MIB,
        size=10 * GIB,
        free_on={},
        mda_free=MIB,
        mda_size=MIB,
        tags=frozenset(),
        trouble=None,
        disks=(Path("/dev/sda"),),
        volumes=by_name,
    )


def read(index: Index, *volumes: LogicalVolume) -> Index:
    index.read(group(*volumes), POOL, lambda lv: lv.pool == "")
    return index


def test_images_are_listed_in_the_order_of_their_ids_with_their_charges() -> None:
    index = read(Index(), lv(B, charge=5 * MIB), lv(A))
    assert index.images() == [A, B]
    assert (index.entries[A.id].reservation, index.entries[B.id].reservation) == (0, 5 * MIB)
    assert index.entries[A.id].volume == A


def test_what_is_not_the_pools_is_not_listed() -> None:
    """A volume that is being built, of another pool of the group, or of somebody else."""
    other = VolumeId("2" * 12, "a" * 32)
    index = read(
        Index(),
        lv(A, tags.BUILDING),
        lv(replace(B, id=other)),
        replace(lv(C), pool="thin"),
        replace(lv(B), name="swap", tags=frozenset()),
    )
    assert index.images() == []
    assert not index.damaged


def test_an_image_that_somebody_else_removed_is_listed_until_it_is_deleted_or_back() -> None:
    index = read(Index(), lv(A), lv(B))
    read(index, lv(B))
    assert index.missing == {A.id: A}
    assert index.images() == [A, B]
    assert index.image(A.id) == A
    read(index, lv(A), lv(B))
    assert not index.missing
    read(index, lv(B))
    index.remove(A.id)
    assert index.images() == [B]
    assert index.image(A.id) is None


def test_an_image_that_was_deleted_did_not_vanish() -> None:
    index = read(Index(), lv(A), lv(B))
    index.remove(A.id)
    read(index, lv(B))
    assert not index.missing


def test_a_damaged_record_is_neither_an_image_nor_missing() -> None:
    damaged = replace(lv(A), tags=frozenset({"cellar.r.0=x"}))
    index = read(read(Index(), lv(A), lv(B)), damaged, lv(B))
    assert index.images() == [B]
    assert list(index.damaged) == [tags.lv_name(A.id)]
    assert not index.missing
    for ask in (index.image, index.refuse_damaged):
        with pytest.raises(Damaged):
            ask(A.id)
    read(index, lv(A), lv(B))  # an administrator repaired it
    assert index.images() == [A, B]
    index.refuse_damaged(A.id)


def test_a_report_that_was_read_is_not_read_again() -> None:
    index, report = Index(), group(lv(A))
    asked = 0

    def contains(_: LogicalVolume) -> bool:
        nonlocal asked
        asked += 1
        return True

    for _ in range(2):
        index.read(report, POOL, contains)
    assert asked == 1
    index.read(group(lv(A)), POOL, contains)
    assert asked == 2
