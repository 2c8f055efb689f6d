"""The results of the use cases, other than volumes and snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from driver.core.devices import Extent, Usage
from driver.core.faults import Fault
from driver.core.model import Bytes, Snapshot, Unreadable, Volume


@dataclass(frozen=True, slots=True)
class VolumePage:
    """One page of a list of volumes, each with its faults; `next`: the token of the next page, ""
    on the last.
    """

    volumes: tuple[tuple[Volume | Unreadable, tuple[Fault, ...]], ...]
    next: str


@dataclass(frozen=True, slots=True)
class SnapshotsPage:
    """One page of a list of snapshots; `next`: the token of the next page, "" on the last."""

    snapshots: tuple[Snapshot | Unreadable, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group snapshot. `created`: seconds since the epoch; `snapshots`: its members, each of which
    has the key, name and creation time of the group snapshot in its record.
    """

    id: str
    name: str
    created: float
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """One page of the allocated extents of a snapshot, the target, or of those in which it differs
    from another snapshot, the base.

    `end`: byte offset of the next page; on the last page it is equal to `size`, the target's size
    in bytes. `incarnations`: random texts of target and base, to detect that one was created again
    between pages.
    """

    ranges: tuple[Extent, ...]
    end: Bytes
    size: Bytes
    incarnations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expanded:
    """The result of ControllerExpandVolume: the volume's size in bytes, and whether
    NodeExpandVolume must follow.
    """

    size: Bytes
    node_expansion_required: bool


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """The result of NodeGetVolumeStats. `usage`: of the filesystem; None: a block device, which has
    only a `size` (bytes).
    """

    usage: Usage | None
    size: Bytes
    faults: tuple[Fault, ...]
