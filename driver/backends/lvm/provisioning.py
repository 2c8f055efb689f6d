"""What a pool of logical volumes is made of: its options, the machine, and thick or thin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from driver.backends.lvm.volume_group import Group
from driver.core.model import Allocation, Bytes, Fault, Image, Volume
from driver.linux.devices import lvm
from driver.linux.mounts.freeze import Freezer


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    overcommit: float = 1.0  # of a thin pool
    reserve: str = "0"  # bytes, or a percentage of the group or thin pool; never given out
    extend: str = "0"  # by how much a thin pool grows when it fills up, if its group has the room
    stripes: int = 1  # thick volumes lie on so many disks at once
    mirrors: int = 0  # further copies of each thick volume, on other disks
    devices: tuple[str, ...] = ()  # where its disks are: paths, patterns, files of loop devices
    uuid: str = ""  # of the group
    init: bool = False


class HostResources(Protocol):
    """What the pools of a machine share."""

    @property
    def owner(self) -> str: ...
    @property
    def freezer(self) -> Freezer: ...


class Provisioning(Protocol):
    """What is different between thick and thin. Sizes are multiples of the extent size."""

    @property
    def group(self) -> Group: ...
    @property
    def allocation(self) -> Allocation: ...
    @property
    def shares(self) -> bool: ...
    @property
    def where(self) -> str: ...
    def granularity(self, vg: lvm.VolumeGroup, /) -> Bytes: ...
    def trouble(self, vg: lvm.VolumeGroup, /) -> str:
        """Why there is no pool in the group; "" if there is."""

    def identity(self, vg: lvm.VolumeGroup, /) -> str: ...
    def uuid(self, vg: lvm.VolumeGroup, /) -> str:
        """Of the thin pool; empty where the group is the pool."""

    def tags(self, vg: lvm.VolumeGroup, /) -> frozenset[str]: ...
    def mark(self, tag: str, /) -> None: ...
    def holds(self, one: lvm.LogicalVolume, /) -> bool: ...
    def wake(self) -> None: ...
    def largest(self, vg: lvm.VolumeGroup, /) -> Bytes: ...
    def committed(self, vg: lvm.VolumeGroup, /) -> Bytes: ...
    def make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None, /
    ) -> Bytes:
        """An active volume, tagged as being built; its charge. NoSpace."""

    def blank(self, name: str, image: Image, /, *, shared: bool) -> None:
        """Whatever is not the source's reads as zeros; outside the group's lock."""

    def clear(self, name: str, /) -> None:
        """All of an active volume reads as zeros again."""

    def written(self, one: lvm.LogicalVolume, /) -> Bytes:
        """At most so many bytes."""

    def grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes, /) -> None: ...
    def room_for_stills(self, vg: lvm.VolumeGroup, of: Sequence[lvm.LogicalVolume], /) -> Bytes:
        """For what is overwritten in each of them while they are copied. NoSpace."""

    def still(self, name: str, of: lvm.LogicalVolume, room: Bytes, /) -> None:
        """An active snapshot, tagged as being built; what it shows is never written to."""

    def is_void(self, name: str, /) -> bool:
        """Whether it lost what it should show."""

    def charged(self, name: str, charge: Bytes, /) -> Bytes: ...
    def forget(self, name: str, /) -> None: ...
    def fullness(self, vg: lvm.VolumeGroup, /) -> tuple[float, float]:
        """The shares of its data and of its metadata that are used."""

    def faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]: ...
    def faults_of_volume(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]:
        """What ails the pool and will harm its volumes."""

    def tend(self, vg: lvm.VolumeGroup, /) -> None:
        """Now and then: see to it that there is room to write."""
