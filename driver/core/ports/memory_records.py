"""Records in memory, for simulated pools; they are lost when the process ends."""

from __future__ import annotations

from collections.abc import Mapping

from driver.core.ports.records import NodeState


class MemoryRecords:
    """Keeps the records that a node stores outside of its pools in memory only, until the process
    ends.

    No lock is needed, because single operations of a dict are atomic.
    """

    problem: str | None = None

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, str]] = {}

    def get(self, key: str) -> Mapping[str, str] | None:
        return self._known.get(key)

    def items(self) -> Mapping[str, Mapping[str, str]]:
        return self._known.copy()

    def find(self, field: str, value: str) -> Mapping[str, Mapping[str, str]]:
        records = self._known.copy().items()
        return {key: record for key, record in records if record.get(field) == value}

    def write(self, key: str, record: Mapping[str, str]) -> None:
        self._known[key] = dict(record)

    def remove(self, key: str) -> None:
        self._known.pop(key, None)

    def flush(self) -> bool:
        return True


def memory_state() -> NodeState:
    """Return empty records for a simulated node, which are kept in memory until the process
    ends.
    """
    return NodeState(mount_records=MemoryRecords(), pools=MemoryRecords())
