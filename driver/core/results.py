"""What the use cases answer, beside the nouns themselves."""

from __future__ import annotations

from dataclasses import dataclass

from driver.core.model import Bytes, Extent, Fault, Snapshot, Unreadable, Usage, Volume


@dataclass(frozen=True, slots=True)
class VolumePage:
    """`next` is the token of the next page; "" at the end."""

    volumes: tuple[tuple[Volume | Unreadable, tuple[Fault, ...]], ...]
    next: str


@dataclass(frozen=True, slots=True)
class SnapshotsPage:
    snapshots: tuple[Snapshot | Unreadable, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group snapshot: the members share `created` and the group's key and name."""

    id: str
    name: str
    created: float
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """Of what a snapshot has, or where two differ. What follows begins at `end`; `size`: nothing.

    `lives`: the incarnations that this is about.
    """

    ranges: tuple[Extent, ...]
    end: Bytes
    size: Bytes
    lives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expanded:
    size: Bytes
    node_expansion_required: bool


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """NodeGetVolumeStats: `usage` of a filesystem, or the `size` of a block device."""

    usage: Usage | None
    size: Bytes
    faults: tuple[Fault, ...]
