"""Small records that a node keeps outside of its pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Records(Protocol):
    """Small records that a node stores outside of its pools. A record is a mapping of fields to
    texts, and is stored under a key, which is a text, too.

    No method raises an error of the disk, or waits for the disk longer than a moment. A record that
    cannot be written is only in this process's memory, and one that cannot be read counts as
    missing.
    """

    @property
    def problem(self) -> str | None:
        """Return why records could not be read or written; None: there was no such failure."""

    def get(self, key: str) -> Mapping[str, str] | None:
        """Return the record that is stored under `key`; None: there is none."""

    def items(self) -> Mapping[str, Mapping[str, str]]:
        """Return a copy of all records, by the key under which each is stored."""

    def find(self, field: str, value: str) -> Mapping[str, Mapping[str, str]]:
        """Return a copy of the records whose `field` has this value, by the key under which each is
        stored.
        """

    def write(self, key: str, record: Mapping[str, str]) -> None:
        """Store `record` under `key`, in place of an earlier one. The record is durable on return,
        unless the property `problem` says why records cannot be written.
        """

    def remove(self, key: str) -> None:
        """Remove the record that is stored under `key`; no-op if there is none. Does not wait for
        the disk.
        """

    def flush(self) -> bool:
        """Wait, at most a moment, until all records are durable. Returns whether they are."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """The records of a driver about its node, stored outside of its pools.

    `mount_records`: the mount at each staging or target path, by path; those of an earlier boot are
    dropped. `pools`: the pool that was found at each configured location, by location; durable.
    """

    mount_records: Records
    pools: Records
