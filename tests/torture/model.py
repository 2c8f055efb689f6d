"""What must be true of the volumes of a torture run: facts that were answered or fsynced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock


class Presence(Enum):
    """Whether a volume or snapshot exists, as far as the answers say."""

    NO = "no"
    MAYBE = "maybe"  # a call did not answer, or was refused half-way
    YES = "yes"


@dataclass
class Item:
    """One volume or snapshot of one client. `files` are digests of what was fsynced, by name.

    `busy` counts the calls and writes that may be changing it now; `version` those that did.
    """

    name: str
    size: int
    fs: str  # empty: raw block
    id: str = ""
    presence: Presence = Presence.NO
    files: dict[str, str] = field(default_factory=dict)
    snapshot: bool = False
    busy: int = 0
    version: int = 0


@dataclass(frozen=True)
class Fact:
    """An item as it was known at one moment."""

    id: str
    size: int
    fs: str
    snapshot: bool
    files: tuple[tuple[str, str], ...]
    version: int


class Model:
    """The items of all clients. Thread-safe; nothing is called while its lock is held."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._items: list[Item] = []

    def add(self, item: Item) -> None:
        with self._lock:
            self._items.append(item)

    @contextmanager
    def changing(self, item: Item) -> Iterator[None]:
        """What is inside may change the item: no fact about it holds meanwhile."""
        with self._lock:
            item.busy += 1
        try:
            yield
        finally:
            with self._lock:
                item.busy -= 1
                item.version += 1

    def facts(self) -> dict[str, Fact]:
        """Return what is certain now, by id: items that exist and that nobody is changing."""
        with self._lock:
            return {
                item.id: Fact(
                    item.id,
                    item.size,
                    item.fs,
                    item.snapshot,
                    tuple(sorted(item.files.items())),
                    item.version,
                )
                for item in self._items
                if item.presence is Presence.YES and not item.busy
            }

    def possible(self) -> set[str]:
        """Return the ids that may exist. Empty ids are of creates that never answered."""
        with self._lock:
            return {
                item.id for item in self._items if item.presence is not Presence.NO or item.busy
            }


def certain(before: dict[str, Fact], after: dict[str, Fact]) -> list[Fact]:
    """Return the facts that held from `before` to `after` without a change between."""
    return [fact for key, fact in before.items() if after.get(key) == fact]
