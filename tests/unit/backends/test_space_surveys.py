"""A ledger of many images: it asks none of them far from full, and never says more than is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driver.backends import space_surveys
from driver.backends.space_entries import Entry
from driver.backends.space_ledger import Ledger
from driver.core.errors import NoSpace
from driver.core.model import GIB, MIB, Allocation, Bytes

THICK, SPARSE = Allocation.THICK, Allocation.SPARSE
SIZE = 16 * MIB
MANY = space_surveys.FEW + 1

Step: TypeAlias = tuple[str, int, Bytes]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(
            ["sparse", "thick", "grow", "delete", "write", "discard", "take", "survey"]
        ),
        st.integers(0, 3),
        st.integers(1, SIZE),
    ),
    max_size=30,
)


@dataclass
class SurveyedDisk:
    """A filesystem with images; `asked`: how often one was asked what it occupies."""

    total: Bytes = 64 * GIB
    occupied: dict[str, Bytes] = field(default_factory=dict)
    others: Bytes = 0
    asked: int = 0

    def available(self) -> Bytes:
        return self.total - self.others - sum(self.occupied.values())

    def ask(self, key: str) -> Bytes:
        self.asked += 1
        return self.occupied.get(key, 0)

    def ledger(self, overcommit: float = 1.0) -> Ledger:
        return Ledger(overcommit=overcommit, occupied=self.ask, available=self.available)


def make(ledger: Ledger, disk: SurveyedDisk, key: str, size: Bytes, allocation: Allocation) -> None:
    with ledger.reserve(key, Entry(size, allocation, pending=True)):
        disk.occupied[key] = size if allocation is THICK else 0
        ledger.record(key, Entry(size, allocation))


def crowded(disk: SurveyedDisk, count: int = MANY) -> Ledger:
    ledger = disk.ledger()
    for number in range(count):
        make(ledger, disk, f"v{number}", SIZE, SPARSE)
        ledger.mark_attached(f"v{number}")
    ledger.measure(closely=True)
    disk.asked = 0
    return ledger


def test_what_is_not_attached_is_never_asked() -> None:
    """Nobody writes to it. What it occupied when it was detached is believed."""
    disk = SurveyedDisk(total=MANY * SIZE + 8 * MIB)
    ledger = crowded(disk)
    for number in range(MANY):
        disk.occupied[f"v{number}"] = SIZE // 2
        ledger.mark_detached(f"v{number}", SIZE // 2)
    assert ledger.measure().free == 8 * MIB
    assert disk.asked == 0


def test_what_is_attached_is_asked_again() -> None:
    disk = SurveyedDisk()
    ledger = disk.ledger()
    make(ledger, disk, "v", SIZE, SPARSE)
    ledger.mark_attached("v")
    disk.occupied["v"] = SIZE
    assert ledger.measure().free == disk.available()
    disk.occupied["v"] = 0
    assert ledger.measure().free == disk.available() - SIZE


def test_what_is_attached_while_the_images_are_asked_is_asked_too() -> None:
    """It may give bytes back before the filesystem is asked, which are still owed."""
    disk = SurveyedDisk()
    ledger = disk.ledger()

    def attached_meanwhile() -> Bytes:
        if disk.occupied.get("v"):
            ledger.mark_attached("v")
            disk.occupied["v"] = 0
        return disk.available()

    make(ledger, disk, "v", SIZE, SPARSE)
    disk.occupied["v"] = SIZE
    ledger.mark_detached("v", SIZE)
    ledger._surveys._available = attached_meanwhile
    assert ledger.measure().free == disk.total - SIZE


def test_far_from_full_no_image_is_asked() -> None:
    disk = SurveyedDisk()
    ledger = crowded(disk)
    before = ledger.largest(THICK)
    make(ledger, disk, "more", SIZE, SPARSE)
    make(ledger, disk, "thick", SIZE, THICK)
    assert disk.asked == 0
    assert before - ledger.largest(THICK) == 2 * SIZE
    assert disk.asked == 0


def test_written_images_are_not_asked_either() -> None:
    """What they have written is neither free nor owed, as the last survey found."""
    disk = SurveyedDisk(total=2 * MANY * SIZE)
    ledger = crowded(disk)
    for number in range(MANY):
        disk.occupied[f"v{number}"] = SIZE
    ledger.measure(closely=True)
    disk.asked = 0
    assert ledger.measure().free == MANY * SIZE
    make(ledger, disk, "more", MANY * SIZE // 4, THICK)
    assert disk.asked == 0


def test_few_images_are_asked_each_time() -> None:
    disk = SurveyedDisk()
    ledger = crowded(disk, space_surveys.FEW)
    disk.occupied["v0"] = SIZE
    assert ledger.measure().free == disk.total - space_surveys.FEW * SIZE
    assert disk.asked == space_surveys.FEW


def test_what_somebody_else_takes_is_not_free() -> None:
    disk = SurveyedDisk()
    ledger = crowded(disk)
    before = ledger.measure().free
    disk.others += GIB
    assert ledger.measure().free == before - GIB


def test_what_is_discarded_is_not_free_for_others() -> None:
    disk = SurveyedDisk()
    ledger = crowded(disk)
    disk.occupied["v0"] = SIZE
    before = ledger.measure(closely=True).free
    disk.occupied["v0"] = 0
    assert ledger.measure().free == before


def test_what_is_deleted_is_free_again_without_a_survey() -> None:
    disk = SurveyedDisk()
    ledger = crowded(disk, MANY + 1)
    before = ledger.measure().free
    ledger.remove("v0")
    assert ledger.measure().free == before + SIZE
    assert disk.asked == 0


def test_near_the_end_each_image_is_asked() -> None:
    disk = SurveyedDisk(total=MANY * SIZE + 8 * MIB)
    ledger = crowded(disk)
    disk.occupied["v0"] = SIZE
    assert ledger.measure().free == 8 * MIB
    assert disk.asked == MANY


def test_an_image_for_which_the_estimate_does_not_do_is_looked_at_closely() -> None:
    disk = SurveyedDisk(total=3 * MANY * SIZE)
    ledger = crowded(disk)
    for number in range(MANY):
        disk.occupied[f"v{number}"] = SIZE // 2
    assert ledger.measure().free == MANY * SIZE * 3 // 2  # what was written since is not known
    make(ledger, disk, "most", MANY * SIZE * 7 // 4, THICK)
    assert disk.asked >= MANY


def test_an_old_survey_is_not_estimated_from(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SurveyedDisk()
    ledger = crowded(disk)
    later = monotonic() + 3600
    monkeypatch.setattr(space_surveys, "monotonic", lambda: later)
    assert ledger.is_stale
    assert ledger.measure().free == disk.total - MANY * SIZE
    assert disk.asked == MANY
    assert not ledger.is_stale


_DISCARDED: list[Step] = [
    ("sparse", 0, 4 * MIB),
    ("sparse", 0, MIB),
    ("write", 0, SIZE),
    ("survey", 0, 1),
    ("discard", 0, SIZE),
]


@example(_DISCARDED)
@example([*_DISCARDED, ("delete", 1, 1)])
@example([*_DISCARDED, ("thick", 0, MIB)])
@given(STEPS)
def test_an_estimate_is_never_more_than_a_survey_finds(steps: list[Step]) -> None:
    """And whatever was promised can be written, whatever anybody does meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space_surveys, "FEW", 0)
        disk = SurveyedDisk(total=20 * SIZE)
        ledger = disk.ledger()
        sizes: dict[str, tuple[Bytes, Allocation]] = {}
        for number, (kind, which, size) in enumerate(steps):
            key = sorted(sizes)[which % len(sizes)] if sizes else ""
            if key or kind in {"sparse", "thick"}:
                _STEPS[kind](ledger, disk, sizes, key or f"{number}", number, size)
            estimate = ledger.measure().free
            assert estimate <= _survey(disk, sizes)
        for key, (size, _) in sizes.items():
            disk.occupied[key] = size
        assert disk.available() >= 0


def _survey(disk: SurveyedDisk, sizes: dict[str, tuple[Bytes, Allocation]]) -> Bytes:
    owed = sum(size - disk.occupied[key] for key, (size, _) in sizes.items())
    return disk.available() - owed


_Sizes: TypeAlias = dict[str, tuple[Bytes, Allocation]]


def _make(how: Allocation) -> Callable[[Ledger, SurveyedDisk, _Sizes, str, int, Bytes], None]:
    def step(
        ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, _: str, number: int, size: Bytes
    ) -> None:
        try:
            make(ledger, disk, f"v{number}", 4 * size, how)
        except NoSpace:
            return
        sizes[f"v{number}"] = 4 * size, how

    return step


def _grow(ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, key: str, _: int, size: Bytes) -> None:
    old, how = sizes[key]
    try:
        with ledger.reserve(key, Entry(old + size, how, pending=True)):
            if how is THICK:
                disk.occupied[key] = old + size
            ledger.record(key, Entry(old + size, how))
    except NoSpace:
        return
    sizes[key] = old + size, how


def _delete(
    ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, key: str, _: int, size: Bytes
) -> None:
    ledger.mark_detached(key, disk.occupied[key])
    ledger.remove(key)
    if size % 2:  # xfs frees in the background
        disk.occupied.pop(key)
        sizes.pop(key)
    else:
        disk.others += disk.occupied.pop(key)
        sizes.pop(key)


def _write(
    ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, key: str, _: int, size: Bytes
) -> None:
    whole, _how = sizes[key]
    ledger.mark_attached(key)
    disk.occupied[key] = min(whole, disk.occupied[key] + 4 * size)


def _discard(
    ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, key: str, _: int, size: Bytes
) -> None:
    ledger.mark_attached(key)
    if sizes[key][1] is SPARSE:
        disk.occupied[key] = max(0, disk.occupied[key] - 4 * size)


def _take(ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, key: str, _: int, size: Bytes) -> None:
    """Somebody else, of what is owed to nobody. A discard may hide that until the next survey."""
    disk.others += max(0, min(size, _survey(disk, sizes)))
    ledger.measure(closely=True)


def _look(ledger: Ledger, disk: SurveyedDisk, sizes: _Sizes, key: str, _: int, size: Bytes) -> None:
    ledger.measure(closely=True)


_STEPS: dict[str, Callable[[Ledger, SurveyedDisk, _Sizes, str, int, Bytes], None]] = {
    "sparse": _make(SPARSE),
    "thick": _make(THICK),
    "grow": _grow,
    "delete": _delete,
    "write": _write,
    "discard": _discard,
    "take": _take,
    "survey": _look,
}
