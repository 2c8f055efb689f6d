"""Small records that a node keeps outside of its pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Records(Protocol):
    """Small flat records by key that a node keeps outside of its pools.

    No method raises because of the disk, or waits for it longer than a moment: what cannot be
    written is known to this process only, and what cannot be read counts as missing.
    """

    @property
    def problem(self) -> str | None:
        """Return why records could not be read or written; None: they were."""

    def get(self, key: str) -> Mapping[str, str] | None:
        """Return the record of `key`, or None."""

    def items(self) -> Mapping[str, Mapping[str, str]]:
        """Return a copy of all records, by key."""

    def find(self, field: str, value: str) -> Mapping[str, Mapping[str, str]]:
        """A copy of the records whose `field` has this value, by key."""

    def write(self, key: str, record: Mapping[str, str]) -> None:
        """Write or replace the record of `key`; it is on the disk when this returns, unless
        there is a `problem`.
        """

    def remove(self, key: str) -> None:
        """Remove the record of `key`; no-op if there is none. Does not wait for the disk."""

    def flush(self) -> bool:
        """Wait a moment until everything is on the disk. Returns False if it is not."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a driver records of its node outside of its pools.

    `mount_records`: what is mounted at a staging or target path, by that path; records of an
    earlier boot are dropped. `pools`: which pool was found at a configured location, by that
    location; durable.
    """

    mount_records: Records
    pools: Records
