"""What a pool of logical volumes is made of: its options, the machine, and thick or thin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from driver.core.model import Allocation, Bytes, Fault, Image, Volume
from driver.linux import lvm
from driver.linux.freeze import Freezer


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    overcommit: float = 1.0  # of a thin pool
    reserve: str = "0"  # bytes, or a percentage of the group or thin pool; never given out
    init: bool = False


class Machine(Protocol):
    """What the pools of a machine share."""

    @property
    def owner(self) -> str: ...
    @property
    def freezer(self) -> Freezer: ...


class Kind(Protocol):
    """What is different between thick and thin. Sizes are multiples of the extent size."""

    @property
    def allocation(self) -> Allocation: ...
    @property
    def shares(self) -> bool: ...
    @property
    def where(self) -> str: ...
    def trouble(self, vg: lvm.VolumeGroup, /) -> str:
        """Why there is no pool in the group; "" if there is."""

    def identity(self, vg: lvm.VolumeGroup, /) -> str: ...
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

    def grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes, /) -> None: ...
    def charged(self, name: str, charge: Bytes, /) -> Bytes: ...
    def forget(self, name: str, /) -> None: ...
    def faults(self, vg: lvm.VolumeGroup, /) -> Iterator[Fault]: ...
