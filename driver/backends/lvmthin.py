"""Volumes that get their bytes from a thin pool as they are written; clones and snapshots share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Final

from driver.backends.lvmgroup import Group
from driver.backends.lvmthick import METADATA_MARGIN, NEW
from driver.core.errors import CellarError, NoSpace, PoolAway
from driver.core.failpoints import reach as passed
from driver.core.model import Allocation, Bytes, Fault, Image, Snapshot, Volume
from driver.core.quantity import parse_share
from driver.linux import dm, lvm

DATA_MARK: Final = 0.95  # of the pool's data; beyond it nothing new is promised
METADATA_MARK: Final = 0.80  # of its metadata: dm-thin needs room to delete, too


class Thin:
    """See `Kind` in lvm.py. `charge` of an image on record: 0 if there is none."""

    allocation: Final = Allocation.THIN
    shares: Final = True

    def __init__(
        self,
        group: Group,
        pool: str,
        *,
        overcommit: float,
        reserve: str,
        charge: Callable[[lvm.LogicalVolume], Bytes],
    ) -> None:
        self._group = group
        self._pool = pool
        self._ratio = Fraction(overcommit).limit_denominator(1000)
        self._reserve = reserve
        self._charge = charge
        self._pending: dict[str, Bytes] = {}

    @property
    def where(self) -> str:
        return self._group.of(self._pool)

    def trouble(self, vg: lvm.VolumeGroup) -> str:
        if (pool := vg.volumes.get(self._pool)) is None or not pool.is_thin_pool:
            return f"volume group {vg.name} has no thin pool {self._pool}: see `lvs {vg.name}`"
        if not pool.zeroes:
            return (
                f"thin pool {self.where} does not clear what it gives out, so volumes would show"
                f" each other's old bytes: run `lvchange --zero y {self.where}`"
            )
        return ""

    def identity(self, vg: lvm.VolumeGroup) -> str:
        return f"{vg.uuid}/{vg.volumes[self._pool].uuid}"

    def tags(self, vg: lvm.VolumeGroup) -> frozenset[str]:
        return vg.volumes[self._pool].tags

    def mark(self, tag: str) -> None:
        self._group.change("lvchange", "--addtag", tag, self.where)

    def holds(self, one: lvm.LogicalVolume) -> bool:
        return one.pool == self._pool

    def wake(self) -> None:
        """An active pool can be asked how full it is."""
        self._group.change("lvchange", "--activate", "y", self.where)

    def largest(self, vg: lvm.VolumeGroup) -> Bytes:
        if self._guard(vg):
            return 0
        room, pool = self._room(vg), vg.volumes[self._pool]
        room -= room % pool.chunk_size
        return max(0, room - room % vg.extent_size)

    def committed(self, vg: lvm.VolumeGroup) -> Bytes:
        return sum(self._due(vg, one) for one in vg.volumes.values() if self.holds(one))

    def make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None
    ) -> Bytes:
        """Blank, or with the bytes of the source; what it may cost if that is not its size."""
        if trouble := self._guard(vg):
            raise NoSpace(trouble)
        if not (source and isinstance(image, Snapshot)):
            self._refuse(vg, image.size)
        if not source:
            words = ("--virtualsize", f"{image.size}b", "--thinpool", self._pool)
            self._group.change("lvcreate", *words, *NEW, "--name", name, self._group.name)
            return 0
        self._group.change(
            "lvcreate", "--snapshot", *NEW, "--name", name, self._group.of(source.name)
        )
        return self._charged_snapshot(vg, name) if isinstance(image, Snapshot) else 0

    def blank(self, name: str, image: Image, *, shared: bool) -> None:
        """A clone may be larger than what it was cloned from."""
        if shared and self._group.look().volumes[name].size < image.size:
            self._group.change("lvextend", "--size", f"{image.size}b", self._group.of(name))

    def grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes) -> None:
        with self._group.lock:
            vg = self._group.look()
            if trouble := self._guard(vg):
                raise NoSpace(trouble)
            self._refuse(vg, size, instead_of=self._rounded(vg, volume.size))
            self._group.change("lvextend", "--size", f"{size}b", self._group.of(one.name))
        passed("resize.allocated")

    def faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        if trouble := self._guard(vg):
            yield Fault("ThinPoolNearlyFull", trouble)
        if vg.volumes[self._pool].queues_when_full:
            yield Fault(
                "ThinPoolQueues",
                f"writers hang for a minute when {self.where} is full: run"
                f" `lvchange --errorwhenfull y {self.where}`",
            )

    def charged(self, name: str, charge: Bytes) -> Bytes:
        """What it will be charged once it is on record."""
        return self._pending.get(name, charge)

    def forget(self, name: str) -> None:
        """It is on record, or gone."""
        self._pending.pop(name, None)

    def _charged_snapshot(self, vg: lvm.VolumeGroup, name: str) -> Bytes:
        """It is never written to, so it costs what it maps: its source may overwrite all of it."""
        try:
            cost = dm.thin_written(dm.escaped(self._group.name, name))
            self._refuse(vg, cost)
        except CellarError:
            with suppress(CellarError):
                self._group.change("lvremove", self._group.of(name))
            raise
        self._pending[name] = cost
        return cost

    def _guard(self, vg: lvm.VolumeGroup) -> str:
        """Why nothing new should be promised; "" if it may."""
        if vg.mda_free < METADATA_MARGIN:
            return f"the metadata area of volume group {vg.name} is full: see --metadatasize"
        status = self._status()
        if status.trouble:
            return f"thin pool {self.where}: {status.trouble}"
        if status.data_share >= DATA_MARK:
            return f"thin pool {self.where} is {status.data_share:.0%} full: `lvextend` it"
        if status.metadata_share >= METADATA_MARK:
            return (
                f"the metadata of thin pool {self.where} is {status.metadata_share:.0%} full:"
                " `lvextend --poolmetadatasize` it"
            )
        return ""

    def _status(self) -> dm.ThinPool:
        """It is woken if somebody put it to sleep."""
        base = dm.escaped(self._group.name, self._pool)
        names = (f"{base}-tpool", base)  # the second while it has no volumes
        try:
            if not any(map(dm.find, names)):
                self.wake()
            name = next(filter(dm.find, names), base)
            return dm.thin_pool(name)
        except CellarError as error:
            raise PoolAway(f"thin pool {self.where} is not active: {error}") from error

    def _room(self, vg: lvm.VolumeGroup) -> Bytes:
        size = vg.volumes[self._pool].size
        return int((size - parse_share(self._reserve, size)) * self._ratio) - self.committed(vg)

    def _due(self, vg: lvm.VolumeGroup, one: lvm.LogicalVolume) -> Bytes:
        if one.name in self._pending:
            return self._pending[one.name]
        return self._rounded(vg, self._charge(one) or one.size)

    def _refuse(self, vg: lvm.VolumeGroup, size: Bytes, *, instead_of: Bytes = 0) -> None:
        room, more = self._room(vg), self._rounded(vg, size) - instead_of
        if more > room:
            raise NoSpace(
                f"thin pool {self.where} has room for {max(0, room)} bytes, {more} are needed"
            )

    def _rounded(self, vg: lvm.VolumeGroup, size: Bytes) -> Bytes:
        chunk = vg.volumes[self._pool].chunk_size
        return -(-size // chunk) * chunk
