"""What each image may cost its pool."""

from __future__ import annotations

from driver.backends.space_entries import Entry
from driver.core.model import GIB, MIB
from tests.unit.backends.ledgers import SPARSE, THICK, LedgerDisk, a_ledger, make, owed


def test_a_snapshot_of_a_thick_volume_costs_what_overwriting_may() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    make(ledger, disk, "v", GIB // 4, THICK)
    before = ledger.largest(THICK)
    with ledger.reserve("s", Entry(GIB // 4, THICK, shared=GIB // 4, pending=True)):
        ledger.record("s", Entry(GIB // 4, THICK, shared=GIB // 4))
    assert ledger.largest(THICK) == before - GIB // 4


def test_what_is_no_longer_shared_is_no_longer_owed() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    ledger.record("s", Entry(GIB // 4, THICK, shared=GIB // 4))
    before = ledger.largest(THICK)
    ledger.update_shared("s", 0)
    assert ledger.largest(THICK) == before + GIB // 4
    assert ledger.sharing() == ()


def test_a_measure_never_makes_an_image_owe_more() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    ledger.record("s", Entry(MIB, THICK, shared=0))
    ledger.update_shared("s", MIB)
    assert owed(ledger, disk) == 0


def test_a_measure_of_an_earlier_life_says_nothing_of_the_next() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    ledger.record("s", Entry(MIB, THICK, shared=MIB))
    before = ledger.entry("s")
    ledger.remove("s")
    ledger.record("s", Entry(MIB, THICK, shared=MIB // 2))
    ledger.update_shared("s", 0, before)
    assert owed(ledger, disk) == MIB // 2
    ledger.update_shared("s", 0, ledger.entry("s"))
    assert owed(ledger, disk) == 0


def test_a_sparse_volume_owes_what_it_has_not_written() -> None:
    disk = LedgerDisk(GIB)
    ledger = a_ledger(disk)
    make(ledger, disk, "v", GIB // 2, SPARSE)
    ledger.mark_attached("v")
    before = ledger.largest(THICK)
    disk.occupied["v"] = GIB // 4
    assert ledger.largest(THICK) == before
