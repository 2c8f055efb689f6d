"""Volumes that get their bytes from a thin pool as they are written; clones and snapshots share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.thick import NEW
from driver.backends.lvm.provisioning.thin_usage import ThinPoolUsage
from driver.backends.lvm.tags import STILL
from driver.backends.lvm.volume_group import Group
from driver.backends.space_ledger import ratio_of
from driver.core.errors import CellarError, NoSpace
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind
from driver.core.model import Allocation, Bytes, Image, Snapshot, Volume
from driver.core.quantity import parse_share, show_bytes
from driver.linux.devices import block, dm, lvm, raw


class Thin:
    """Volumes of the thin pool `pool`; see `provisioning.Provisioning`.

    `charge` returns the recorded charge of a volume in bytes; 0 if there is none.
    """

    allocation: Final = Allocation.THIN
    shares: Final = True

    def __init__(
        self,
        group: Group,
        pool: str,
        options: Options,
        charge: Callable[[lvm.LogicalVolume], Bytes],
    ) -> None:
        self.group = group
        self._pool = pool
        self._ratio = ratio_of(options.overcommit)
        self._reserve = options.reserve
        self._charge = charge
        self._guard = ThinPoolUsage(group, pool, options.extend)
        self._pending: dict[str, Bytes] = {}

    @property
    def where(self) -> str:
        return self.group.of(self._pool)

    def granularity(self, vg: lvm.VolumeGroup) -> Bytes:
        return vg.extent_size

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
        return f"{vg.uuid}/{self.uuid(vg)}"

    def uuid(self, vg: lvm.VolumeGroup) -> str:
        return vg.volumes[self._pool].uuid

    def tags(self, vg: lvm.VolumeGroup) -> frozenset[str]:
        return vg.volumes[self._pool].tags

    def mark(self, tag: str) -> None:
        self.group.change("lvchange", "--addtag", tag, self.where)

    def holds(self, one: lvm.LogicalVolume) -> bool:
        return one.pool == self._pool

    def wake(self) -> None:
        self._guard.wake()

    def largest(self, vg: lvm.VolumeGroup) -> Bytes:
        if self._guard.trouble(vg):
            return 0
        room, pool = self._room(vg), vg.volumes[self._pool]
        room -= room % pool.chunk_size
        return max(0, room - room % vg.extent_size)

    def committed(self, vg: lvm.VolumeGroup) -> Bytes:
        held = (one for one in vg.volumes.values() if self.holds(one) and STILL not in one.name)
        return sum(self._due(vg, one) for one in held)

    def make(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None
    ) -> Bytes:
        """Make a blank volume, or one with the bytes of `source`; return its charge if it is not
        its size.

        Raises: NoSpace if the pool has no space for it, or is too full.
        """
        if trouble := self._guard.trouble(vg):
            raise NoSpace(trouble)
        if not (source and isinstance(image, Snapshot)):
            self._refuse(vg, image.size)
        if not source:
            words = ("--virtualsize", f"{image.size}b", "--thinpool", self._pool)
            self.group.change("lvcreate", *words, *NEW, "--name", name, self.group.name)
            return 0
        self.group.change(
            "lvcreate", "--snapshot", *NEW, "--name", name, self.group.of(source.name)
        )
        return self._charged_snapshot(vg, name) if isinstance(image, Snapshot) else 0

    def blank(self, name: str, image: Image, *, shared: bool) -> None:
        """Extend a clone to its size, if it is larger than what it was cloned from."""
        if shared and self.group.look().volumes[name].size < image.size:
            self.group.change("lvextend", "--size", f"{image.size}b", self.group.of(name))

    def clear(self, name: str) -> None:
        """Discard the volume, and zero what still has data: parts of chunks, and all if the pool
        ignores discards.
        """
        where = dm.node(self.group.name, name)
        size = block.size(where)
        raw.discard(where, 0, size)
        raw.forget(where)
        for extent in tuple(raw.written(where, size)):
            raw.zero(where, extent.start, extent.length)

    def written(self, one: lvm.LogicalVolume) -> Bytes:
        name = dm.escaped(self.group.name, one.name)
        return dm.thin_written(name) if dm.find(name) else one.size

    def grow(self, one: lvm.LogicalVolume, volume: Volume, size: Bytes) -> None:
        with self.group.lock:
            vg = self.group.look()
            if trouble := self._guard.trouble(vg):
                raise NoSpace(trouble)
            self._refuse(vg, size, instead_of=self._rounded(vg, volume.size))
            self.group.change("lvextend", "--size", f"{size}b", self.group.of(one.name))
        reach(FailPoint.RESIZE_ALLOCATED)

    def fullness(self, _vg: lvm.VolumeGroup) -> tuple[float, float]:
        status = self._guard.status()
        return status.data_share, status.metadata_share

    def faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        if trouble := self._guard.trouble(vg):
            yield Fault(FaultKind.THIN_POOL_NEARLY_FULL, trouble)
        if vg.volumes[self._pool].queues_when_full:
            yield Fault(
                FaultKind.THIN_POOL_QUEUES,
                f"writers hang for a minute when {self.where} is full: run"
                f" `lvchange --errorwhenfull y {self.where}`",
            )

    def faults_of_volume(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        """Give a fault if the pool is so full that its volumes may soon not be able to write."""
        if trouble := self._guard.recent_trouble(vg):
            yield Fault(FaultKind.THIN_POOL_NEARLY_FULL, trouble)

    def tend(self, vg: lvm.VolumeGroup) -> None:
        self._guard.tend(vg)

    def room_for_stills(self, vg: lvm.VolumeGroup, _of: Sequence[lvm.LogicalVolume]) -> Bytes:
        """Return 0: chunks that are overwritten come from the pool, as all others.

        Raises: NoSpace if the pool is too full.
        """
        if trouble := self._guard.trouble(vg):
            raise NoSpace(trouble)
        return 0

    def still(self, name: str, of: lvm.LogicalVolume, _room: Bytes) -> None:
        self.group.change("lvcreate", "--snapshot", *NEW, "--name", name, self.group.of(of.name))

    def is_void(self, _name: str) -> bool:
        return False

    def charged(self, name: str, charge: Bytes) -> Bytes:
        """Return what a snapshot that is being made will be charged; else `charge`."""
        return self._pending.get(name, charge)

    def forget(self, name: str) -> None:
        """Forget the charge of a snapshot that was being made: it is recorded now, or gone."""
        self._pending.pop(name, None)

    def _charged_snapshot(self, vg: lvm.VolumeGroup, name: str) -> Bytes:
        """Return the charge of a new snapshot: the bytes that it maps, all of which its source may
        overwrite.

        The snapshot itself is never written to. It is removed if the pool has not so much.

        Raises: NoSpace.
        """
        try:
            cost = dm.thin_written(dm.escaped(self.group.name, name))
            self._refuse(vg, cost)
        except CellarError:
            with suppress(CellarError):
                self.group.change("lvremove", self.group.of(name))
            raise
        self._pending[name] = cost
        return cost

    def _room(self, vg: lvm.VolumeGroup) -> Bytes:
        """Return the bytes that may still be promised; may be negative."""
        size = vg.volumes[self._pool].size
        return int((size - parse_share(self._reserve, size)) * self._ratio) - self.committed(vg)

    def _due(self, vg: lvm.VolumeGroup, one: lvm.LogicalVolume) -> Bytes:
        """Return what a volume may cost, in bytes of whole chunks."""
        if one.name in self._pending:
            return self._pending[one.name]
        return self._rounded(vg, self._charge(one) or one.size)

    def _refuse(self, vg: lvm.VolumeGroup, size: Bytes, *, instead_of: Bytes = 0) -> None:
        """Raise NoSpace unless `size` bytes may be promised, in place of `instead_of` ones."""
        room, more = self._room(vg), self._rounded(vg, size) - instead_of
        if more > room:
            raise NoSpace(
                f"thin pool {self.where} has room for {show_bytes(max(0, room))},"
                f" {show_bytes(more)} are needed"
            )

    def _rounded(self, vg: lvm.VolumeGroup, size: Bytes) -> Bytes:
        """Return `size` rounded up to whole chunks of the pool."""
        chunk = vg.volumes[self._pool].chunk_size
        return -(-size // chunk) * chunk
