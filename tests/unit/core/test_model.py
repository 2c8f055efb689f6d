"""Sizes, ranges and the few decisions that the nouns take themselves."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from driver.core.ids import VolumeId
from driver.core.model import GIB, AccessMode, Allocation, Volume


@pytest.mark.parametrize("allocation", Allocation)
def test_only_thick_volumes_keep_what_is_discarded(allocation: Allocation) -> None:
    assert a_volume(allocation).discards is (allocation is not Allocation.THICK)


def test_two_access_modes_only_read() -> None:
    readers = {mode for mode in AccessMode if mode.reads_only}
    assert readers == {AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY}


def test_nouns_are_compared_by_content() -> None:
    assert a_volume(Allocation.THICK) == a_volume(Allocation.THICK)
    assert a_volume(Allocation.THICK) != a_volume(Allocation.SPARSE)


def test_nouns_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        a_volume(Allocation.THICK).size = 0  # type: ignore[misc]


def a_volume(allocation: Allocation) -> Volume:
    return Volume(
        id=VolumeId("0" * 12, "1" * 32),
        name="pvc-1",
        size=GIB,
        fs=None,
        allocation=allocation,
        block_size=512,
        incarnation="0" * 16,
    )
