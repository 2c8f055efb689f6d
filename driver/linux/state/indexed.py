"""Records in memory, with an index of the values of one field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Record = Mapping[str, str]


class IndexedRecords:
    """Keeps records, which are mappings of fields to texts, in memory, each under a key. Not
    thread-safe.

    `index`: the field by whose values records are found without a search; "": none.
    """

    def __init__(self, index: str = "") -> None:
        self._index = index
        self._records: dict[str, Record] = {}
        self._keys: dict[str, set[str]] = {}  # by value of the indexed field

    def __getitem__(self, key: str) -> Record:
        return self._records[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def get(self, key: str) -> Record | None:
        """Return the record that is stored under `key`; None: there is none."""
        return self._records.get(key)

    def items(self) -> dict[str, Record]:
        """Return a copy of all records, by the key under which each is stored."""
        return self._records.copy()

    def find(self, field: str, value: str) -> dict[str, Record]:
        """Return the records whose `field` has this value, by the key under which each is
        stored.
        """
        keys = self._keys.get(value, set()) if field == self._index else set(self._records)
        return {key: self._records[key] for key in keys if self._records[key].get(field) == value}

    def set(self, key: str, record: Record) -> None:
        """Store `record` under `key`, in place of an earlier one."""
        self.remove(key)
        self._records[key] = record
        if self._index:
            self._keys.setdefault(record.get(self._index, ""), set()).add(key)

    def remove(self, key: str) -> bool:
        """Remove the record that is stored under `key`. Returns False if there is none."""
        if (record := self._records.pop(key, None)) is None:
            return False
        if self._index:
            value = record.get(self._index, "")
            self._keys[value].discard(key)
            if not self._keys[value]:
                del self._keys[value]
        return True
