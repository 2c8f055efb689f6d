"""A ledger on a filesystem that a test sets."""

from __future__ import annotations

from driver.backends.space_entries import Entry
from driver.backends.space_ledger import Ledger
from driver.core.model import Allocation, Bytes

THICK, SPARSE = Allocation.THICK, Allocation.SPARSE


class LedgerDisk:
    """A filesystem of so many bytes, of which images occupy some."""

    def __init__(self, total: Bytes) -> None:
        self.total = total
        self.occupied: dict[str, Bytes] = {}

    def available(self) -> Bytes:
        return self.total - sum(self.occupied.values())


def a_ledger(disk: LedgerDisk, overcommit: float = 1.0) -> Ledger:
    return Ledger(
        overcommit=overcommit,
        occupied=lambda key: disk.occupied.get(key, 0),
        available=disk.available,
    )


def owed(ledger: Ledger, disk: LedgerDisk) -> Bytes:
    return disk.available() - ledger.measure().free


def make(ledger: Ledger, disk: LedgerDisk, key: str, size: Bytes, allocation: Allocation) -> None:
    with ledger.reserve(key, Entry(size, allocation, pending=True)):
        disk.occupied[key] = size if allocation is THICK else 0
        ledger.record(key, Entry(size, allocation))
