"""What is wrong with volumes and pools: what the pool sees below, and the machine above."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Final

from driver.core.errors import CellarError, Damaged, PoolUnavailable
from driver.core.faults import Fault, FaultKind, Severity, fault_of
from driver.core.ids import VolumeId
from driver.core.model import Unreadable, Volume
from driver.core.ports.host import FaultFinder
from driver.core.ports.pool import Pool
from driver.core.results import VolumePage
from driver.volumes import paging
from driver.volumes.node import attachment, own_mounts
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node_requests import GetVolumeStats
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, NAME_TIMEOUT, ask, ask_all
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import GetVolume, ListVolumes

_TOGETHER: Final = 16  # volumes of which a pool is asked at once


class Health:
    """Finds the faults of volumes and pools: what the pool knows, and what the machine shows."""

    def __init__(self, pools: Pools, mounts: MountRecords) -> None:
        self._pools = pools
        self._mounts = mounts

    def of_volume(self, wanted: GetVolume) -> tuple[Fault, ...]:
        """Return the faults of one volume. If its pool is unavailable, or its record is damaged,
        that is the fault. Raises: NotFound.
        """
        try:
            pool, volume = self._pools.volume(wanted.volume_id)
        except PoolUnavailable as error:
            return _away(error)
        except Damaged as error:
            return (Fault(FaultKind.RECORD_DAMAGED, str(error), Severity.DATA_LOSS),)
        return faults_of(pool, volume, self._mounts)

    def of_volumes(self, wanted: ListVolumes) -> VolumePage:
        """Return one page of the volumes that have a fault. Raises: StaleToken."""
        every = paging.after_token(self._pools.listed_volumes(), wanted.after)
        ill = (found for found in faults_of_each(every, self._mounts) if found[1])
        page = tuple(islice(ill, wanted.most + 1 if wanted.most else None))
        if not wanted.most or len(page) <= wanted.most:
            return VolumePage(page, "")
        return VolumePage(page[: wanted.most], str(page[wanted.most - 1][0].id))

    def at(self, wanted: GetVolumeStats) -> tuple[Fault, ...]:
        """Return the faults of one volume on its node: also if its volume path or staging path
        shows something else. The paths need not exist. Raises: NotFound.
        """
        paths = filter(None, (wanted.path, wanted.staging))
        return self.of_volume(GetVolume(wanted.volume_id)) + tuple(
            fault for path in paths for fault in self._misplaced(wanted.volume_id, path)
        )

    def of_storage(self) -> tuple[Fault, ...]:
        """Return the faults of all pools, and of volumes that have the same name in several. A
        pool that does not answer in time has that as its fault.
        """
        replies = ask_all(
            self._pools.all(), lambda pool: tuple(pool.backend.faults(None)), LIST_TIMEOUT
        )
        found = dict(replies.given) | {pool: _away(error) for pool, error in replies.errors}
        return (
            *chain.from_iterable(found[pool] for pool in self._pools.all()),
            *self._named_twice(),
        )

    def _named_twice(self) -> Iterator[Fault]:
        """Yield a fault for volumes with the same name: one was made while the pool that has the
        other did not answer. No pool is asked.
        """
        names: dict[str, list[Volume]] = {}
        for pool in self._pools.all():
            for image in pool.backend.known():
                if isinstance(image, Volume):
                    names.setdefault(image.id.key, []).append(image)
        for same in names.values():
            if len(same) > 1:
                older = min(same, key=lambda one: one.created)
                ids = " and ".join(str(one.id) for one in same)
                text = f"volumes {ids} have the same name; {older.id} is the older one: is it used?"
                yield Fault(FaultKind.SAME_NAME_TWICE, text)

    def _misplaced(self, volume_id: VolumeId, path: Path) -> tuple[Fault, ...]:
        """Return a fault if something else than the volume is mounted at `path`."""
        host = self._pools.host_of(volume_id)
        place = host.mounted_at(path)
        device = attachment.find_device(self._pools, volume_id)
        if place is None:
            return ()
        if own_mounts.is_mount_of(host, self._mounts.at(path), place, device, volume_id):
            return ()
        if host.mounted_at(path) != place:  # it is being taken down just now
            return ()
        return (
            Fault(FaultKind.FOREIGN_MOUNT, f"{path} shows something else", Severity.INACCESSIBLE),
        )


def faults_of(
    pool: Pool,
    volume: Volume | Unreadable,
    mounts: MountRecords | None = None,
    finder: FaultFinder | None = None,
) -> tuple[Fault, ...]:
    """Return the faults of one volume of the pool.

    `mounts`: if given, also the recorded mounts that show another device by now. `finder`: of
    the pool's host, for a call about many volumes; what it finds is looked at once more.
    """
    found = tuple(pool.backend.faults(volume.id))
    if isinstance(volume, Unreadable):
        return found
    with suppress(PoolUnavailable):
        device = attachment.device_of(pool, volume)
        above: tuple[Fault, ...] = ()
        if device and (finder is None or any(True for _ in finder.faults(device))):
            above = tuple(pool.host.faults(device))
        if above and attachment.device_of(pool, volume) == device:  # not another volume's by now
            found += above
        if mounts:
            found += tuple(own_mounts.find_swapped(pool.host, mounts, volume, device))
    return found


def faults_of_each(
    volumes: Iterable[tuple[Pool, Volume | Unreadable]], mounts: MountRecords | None = None
) -> Iterator[tuple[Volume | Unreadable, tuple[Fault, ...]]]:
    """Yield each volume with its faults, in the same order.

    A pool is asked for up to 16 volumes at once. From the first time that it does not answer in
    time, its volumes have that as their fault, and it is not asked again.
    """
    for pool, group in groupby(volumes, key=lambda one: one[0]):
        away: tuple[Fault, ...] = ()
        find = partial(_faults_of_part, mounts, pool.host.fault_finder())
        while part := [volume for _, volume in islice(group, _TOGETHER)]:
            found = [away] * len(part)
            if not away:
                try:
                    found = ask(pool, partial(find, part), NAME_TIMEOUT)
                except PoolUnavailable as error:
                    away = _away(error)
                    found = [away] * len(part)
            yield from zip(part, found, strict=True)


def _faults_of_part(
    mounts: MountRecords | None,
    finder: FaultFinder,
    volumes: Iterable[Volume | Unreadable],
    pool: Pool,
) -> list[tuple[Fault, ...]]:
    """Return the faults of each of some volumes of a pool; see faults_of."""
    return [faults_of(pool, volume, mounts, finder) for volume in volumes]


def _away(error: CellarError) -> tuple[Fault, ...]:
    """Return the fault of what could not be asked: that of an unavailable pool, or of one that
    takes no writes if the error says so.
    """
    away = error if isinstance(error, PoolUnavailable) else PoolUnavailable(str(error))
    return (fault_of(away),)
