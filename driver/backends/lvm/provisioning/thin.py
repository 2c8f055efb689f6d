"""Thin provisioning: volumes get chunks of a thin pool when they are written to, and may share
chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning.thick import NEW
from driver.backends.lvm.provisioning.thin_usage import ThinPoolUsage
from driver.backends.lvm.tags import COPY_SNAPSHOT
from driver.backends.lvm.volume_group import Group
from driver.backends.space_entries import exact_ratio
from driver.core.errors import CellarError, NoSpace
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind
from driver.core.model import Allocation, Bytes, Image, Snapshot, Volume
from driver.core.quantity import parse_share, show_bytes
from driver.linux.devices import block, dm, lvm, raw


class Thin:
    """Creates, extends and measures volumes in the thin pool `pool`. The methods are described in
    `Provisioning`.

    `reservation`: returns the recorded reservation of a logical volume in bytes; 0 if there is
    none.
    """

    allocation: Final = Allocation.THIN
    shares: Final = True

    def __init__(
        self,
        group: Group,
        pool: str,
        options: Options,
        reservation: Callable[[lvm.LogicalVolume], Bytes],
    ) -> None:
        self.group = group
        self._pool = pool
        self._ratio = exact_ratio(options.overcommit)
        self._reserve = options.reserve
        self._reservation = reservation
        self._usage = ThinPoolUsage(group, pool, options.extend)
        self._pending: dict[str, Bytes] = {}

    @property
    def location(self) -> str:
        return self.group.full_name(self._pool)

    def granularity(self, vg: lvm.VolumeGroup) -> Bytes:
        return vg.extent_size

    def trouble(self, vg: lvm.VolumeGroup) -> str | None:
        if (pool := vg.volumes.get(self._pool)) is None or not pool.is_thin_pool:
            return f"volume group {vg.name} has no thin pool {self._pool}: see `lvs {vg.name}`"
        if not pool.zeroes:
            return (
                f"thin pool {self.location} does not clear what it gives out, so volumes would show"
                f" each other's old bytes: run `lvchange --zero y {self.location}`"
            )
        return None

    def identity(self, vg: lvm.VolumeGroup) -> str:
        return f"{vg.uuid}/{self.uuid(vg)}"

    def uuid(self, vg: lvm.VolumeGroup) -> str:
        return vg.volumes[self._pool].uuid

    def tags(self, vg: lvm.VolumeGroup) -> frozenset[str]:
        return vg.volumes[self._pool].tags

    def add_tag(self, tag: str) -> None:
        self.group.run("lvchange", "--addtag", tag, self.location)

    def contains(self, lv: lvm.LogicalVolume) -> bool:
        return lv.pool == self._pool

    def activate(self) -> None:
        self._usage.activate()

    def largest_size(self, vg: lvm.VolumeGroup) -> Bytes:
        if self._usage.problem(vg):
            return 0
        size, pool = self._free_bytes(vg), vg.volumes[self._pool]
        size -= size % pool.chunk_size
        return max(0, size - size % vg.extent_size)

    def committed_bytes(self, vg: lvm.VolumeGroup) -> Bytes:
        lvs = (
            lv for lv in vg.volumes.values() if self.contains(lv) and COPY_SNAPSHOT not in lv.name
        )
        return sum(self._cost(vg, lv) for lv in lvs)

    def create_lv(
        self, vg: lvm.VolumeGroup, name: str, image: Image, source: lvm.LogicalVolume | None
    ) -> Bytes:
        """Create an empty volume, or one that shares the bytes of `source`. Returns how many bytes
        are reserved for it beforehand if it is a snapshot, else 0.

        Raises: NoSpace if the thin pool has no space for the volume, or is too full.
        """
        if trouble := self._usage.problem(vg):
            raise NoSpace(trouble)
        if not (source and isinstance(image, Snapshot)):
            self._refuse_too_large(vg, image.size)
        if not source:
            words = ("--virtualsize", f"{image.size}b", "--thinpool", self._pool)
            self.group.run("lvcreate", *words, *NEW, "--name", name, self.group.name)
            return 0
        self.group.run(
            "lvcreate", "--snapshot", *NEW, "--name", name, self.group.full_name(source.name)
        )
        return self._reserve_for_snapshot(vg, name) if isinstance(image, Snapshot) else 0

    def zero_new_space(self, name: str, image: Image, *, shared: bool) -> None:
        """Extend a clone to its full size if that is larger than its source; the new part of a
        thin volume reads as zeros.
        """
        if shared and self.group.report().volumes[name].size < image.size:
            self.group.run("lvextend", "--size", f"{image.size}b", self.group.full_name(name))

    def zero_contents(self, name: str) -> None:
        """Discard the volume, and write zeros over what still has data afterwards: parts of chunks,
        or everything if the pool ignores discards.
        """
        path = dm.lv_node(self.group.name, name)
        size = block.size(path)
        raw.discard(path, 0, size)
        raw.drop_cache(path)
        for extent in tuple(raw.written_extents(path, size)):
            raw.zero(path, extent.start, extent.length)

    def written_bytes(self, lv: lvm.LogicalVolume) -> Bytes:
        name = dm.lv_device_name(self.group.name, lv.name)
        return dm.mapped_bytes(name) if dm.find(name) else lv.size

    def allocated_bytes(self, lv: lvm.LogicalVolume) -> Bytes | None:
        name = dm.lv_device_name(self.group.name, lv.name)
        return dm.mapped_bytes(name) if dm.find(name) else None

    def extend(self, lv: lvm.LogicalVolume, volume: Volume, size: Bytes) -> None:
        with self.group.lock:
            vg = self.group.report()
            if trouble := self._usage.problem(vg):
                raise NoSpace(trouble)
            self._refuse_too_large(vg, size, instead_of=self._round_up(vg, volume.size))
            self.group.run("lvextend", "--size", f"{size}b", self.group.full_name(lv.name))
        reach(FailPoint.RESIZE_ALLOCATED)

    def used_shares(self, _vg: lvm.VolumeGroup) -> tuple[float, float]:
        status = self._usage.status()
        return status.data_share, status.metadata_share

    def faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        if trouble := self._usage.problem(vg):
            yield Fault(FaultKind.THIN_POOL_NEARLY_FULL, trouble)
        if vg.volumes[self._pool].queues_when_full:
            yield Fault(
                FaultKind.THIN_POOL_QUEUES,
                f"writers hang for a minute when {self.location} is full: run"
                f" `lvchange --errorwhenfull y {self.location}`",
            )

    def volume_faults(self, vg: lvm.VolumeGroup) -> Iterator[Fault]:
        """Yield a fault if the pool is so full that writes to its volumes may soon fail."""
        if trouble := self._usage.recent_problem(vg):
            yield Fault(FaultKind.THIN_POOL_NEARLY_FULL, trouble)

    def extend_pool(self, vg: lvm.VolumeGroup) -> None:
        self._usage.extend_if_needed(vg)

    def copy_snapshot_size(self, vg: lvm.VolumeGroup, _lvs: Sequence[lvm.LogicalVolume]) -> Bytes:
        """Return 0: a thin snapshot takes chunks of the pool when the volume is overwritten.

        Raises: NoSpace if the pool is too full.
        """
        if trouble := self._usage.problem(vg):
            raise NoSpace(trouble)
        return 0

    def create_copy_snapshot(self, name: str, lv: lvm.LogicalVolume, _size: Bytes) -> None:
        self.group.run(
            "lvcreate", "--snapshot", *NEW, "--name", name, self.group.full_name(lv.name)
        )

    def is_invalid(self, _name: str) -> bool:
        return False

    def current_reservation(self, name: str, reservation: Bytes) -> Bytes:
        """Return how many bytes are reserved for the logical volume `name`: if it is a snapshot
        that is being created, as many as its creation has reserved, else `reservation`.
        """
        return self._pending.get(name, reservation)

    def forget_reservation(self, name: str) -> None:
        """Forget how many bytes were reserved for the snapshot `name` while it was created, because
        the number is recorded now, or the snapshot was removed.
        """
        self._pending.pop(name, None)

    def _reserve_for_snapshot(self, vg: lvm.VolumeGroup, name: str) -> Bytes:
        """Return the reservation of a new snapshot: the bytes that it maps.

        Its source may overwrite all of them; the snapshot itself is never written to. It is
        removed if the pool has not so many bytes free.

        Raises: NoSpace.
        """
        try:
            cost = dm.mapped_bytes(dm.lv_device_name(self.group.name, name))
            self._refuse_too_large(vg, cost)
        except CellarError:
            with suppress(CellarError):
                self.group.run("lvremove", self.group.full_name(name))
            raise
        self._pending[name] = cost
        return cost

    def _free_bytes(self, vg: lvm.VolumeGroup) -> Bytes:
        """Return the bytes that may still be promised; may be negative."""
        size = vg.volumes[self._pool].size
        return int((size - parse_share(self._reserve, size)) * self._ratio) - self.committed_bytes(
            vg
        )

    def _cost(self, vg: lvm.VolumeGroup, lv: lvm.LogicalVolume) -> Bytes:
        """Return what a volume may cost the pool, in bytes of whole chunks."""
        if lv.name in self._pending:
            return self._pending[lv.name]
        return self._round_up(vg, self._reservation(lv) or lv.size)

    def _refuse_too_large(self, vg: lvm.VolumeGroup, size: Bytes, *, instead_of: Bytes = 0) -> None:
        """Raise NoSpace unless `size` bytes may be promised, in place of `instead_of` ones."""
        free, needed = self._free_bytes(vg), self._round_up(vg, size) - instead_of
        if needed > free:
            raise NoSpace(
                f"thin pool {self.location} has {show_bytes(max(0, free))} that are not promised,"
                f" {show_bytes(needed)} are needed"
            )

    def _round_up(self, vg: lvm.VolumeGroup, size: Bytes) -> Bytes:
        """Return `size` rounded up to whole chunks of the pool."""
        chunk = vg.volumes[self._pool].chunk_size
        return -(-size // chunk) * chunk
