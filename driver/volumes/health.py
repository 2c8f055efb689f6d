"""The faults of volumes and pools, from the pool, the device and its mounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final

from driver.core.devices import Device
from driver.core.errors import CellarError, Damaged, PoolUnavailable
from driver.core.faults import Fault, FaultKind, Severity, unavailability_fault
from driver.core.ids import VolumeId
from driver.core.model import Unreadable, Volume
from driver.core.ports.backend_features import ExaminesTogether
from driver.core.ports.host import FaultFinder
from driver.core.ports.pool import Pool
from driver.core.results import VolumePage
from driver.volumes.node import attachment, io_limits, own_mounts
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node_requests import GetVolumeStats
from driver.volumes.pools.bounded_queries import LIST_TIMEOUT, NAME_TIMEOUT, ask, ask_all
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import GetVolume, ListVolumes

_BATCH: Final = 64  # volumes of which a pool is asked at once


class Health:
    """Finds the faults of volumes and pools, by asking the pools and the machine's kernel."""

    def __init__(self, pools: Pools, records: MountRecords) -> None:
        self._pools = pools
        self._records = records

    def volume_faults(self, request: GetVolume) -> tuple[Fault, ...]:
        """Return the faults of one volume. An unavailable pool and a damaged record are faults too.
        Raises: NotFound.
        """
        try:
            pool, volume = self._pools.volume(request.volume_id)
        except PoolUnavailable as error:
            return _unavailable_faults(error)
        except Damaged as error:
            return (Fault(FaultKind.RECORD_DAMAGED, str(error), Severity.DATA_LOSS),)
        return find_faults(pool, volume, self._records)

    def list_faulty_volumes(self, request: ListVolumes) -> VolumePage:
        """Return one page of the volumes that have a fault."""
        volumes = self._pools.listed_volumes(request.after)
        entries = (entry for entry in find_faults_in_batches(volumes, self._records) if entry[1])
        page = tuple(islice(entries, request.most + 1 if request.most else None))
        if not request.most or len(page) <= request.most:
            return VolumePage(page, "")
        return VolumePage(page[: request.most], str(page[request.most - 1][0].id))

    def at(self, request: GetVolumeStats) -> tuple[Fault, ...]:
        """Return the faults of one volume on this node, including a volume path or staging path at
        which something else is mounted. The paths need not exist. Raises: NotFound.
        """
        paths = filter(None, (request.path, request.staging))
        return self.volume_faults(GetVolume(request.volume_id)) + tuple(
            fault for path in paths for fault in self._misplaced(request.volume_id, path)
        )

    def storage_faults(self) -> tuple[Fault, ...]:
        """Return the faults of all pools, and of volumes that exist in several pools under the same
        name. A pool that does not answer in time is a fault.
        """
        replies = ask_all(
            self._pools.all(), lambda pool: tuple(pool.backend.faults(None)), LIST_TIMEOUT
        )
        unavailable = {pool: _unavailable_faults(error) for pool, error in replies.errors}
        faults = dict(replies.given) | unavailable
        return (
            *chain.from_iterable(faults[pool] for pool in self._pools.all()),
            *self._named_twice(),
        )

    def _named_twice(self) -> Iterator[Fault]:
        """Yield a fault for volumes with the same name: one was created while the pool with the
        other did not answer. No pool is asked.
        """
        volumes_by_key: dict[str, list[Volume]] = {}
        for pool in self._pools.all():
            for image in pool.backend.known():
                if isinstance(image, Volume):
                    volumes_by_key.setdefault(image.id.key, []).append(image)
        for volumes in volumes_by_key.values():
            if len(volumes) > 1:
                older = min(volumes, key=attrgetter("created"))
                ids = " and ".join(str(volume.id) for volume in volumes)
                text = f"volumes {ids} have the same name; {older.id} is the older one: is it used?"
                yield Fault(FaultKind.SAME_NAME_TWICE, text)

    def _misplaced(self, volume_id: VolumeId, path: Path) -> tuple[Fault, ...]:
        """Return a fault if something else than the volume is mounted at `path`."""
        host = self._pools.find_host(volume_id)
        mount = host.mounted_at(path)
        device = attachment.find_device(self._pools, volume_id)
        if mount is None:
            return ()
        if own_mounts.is_own_mount(host, self._records.at(path), mount, device, volume_id):
            return ()
        if host.mounted_at(path) != mount:  # it is being taken down just now
            return ()
        return (
            Fault(
                FaultKind.FOREIGN_MOUNT,
                f"something else is mounted at {path}",
                Severity.INACCESSIBLE,
            ),
        )


def find_faults(
    pool: Pool,
    volume: Volume | Unreadable,
    records: MountRecords | None = None,
    finder: FaultFinder | None = None,
) -> tuple[Fault, ...]:
    """Return the faults of one volume of the pool.

    `records`: the driver's records of mounts; if given, a recorded mount that shows another
    device now is a fault too. `finder`: finds the faults of many devices with one reading of
    the mount table; a fault that it finds is checked again before it is returned.
    """
    faults = tuple(pool.backend.faults(volume.id))
    if isinstance(volume, Unreadable):
        return faults
    with suppress(PoolUnavailable):
        device = attachment.contents_device(pool, volume)
        host_faults: tuple[Fault, ...] = ()
        if device and (finder is None or any(True for _ in finder.faults(device))):
            host_faults = tuple(pool.host.faults(device))
        # Unless the device is another volume's by now.
        if host_faults and attachment.contents_device(pool, volume) == device:
            faults += host_faults
        if device:
            faults += tuple(io_limits.find_fault(pool, volume, device))
        if records:
            faults += tuple(own_mounts.find_swapped(pool.host, records, volume, device))
    return faults


def find_faults_in_batches(
    volumes: Iterable[tuple[Pool, Volume | Unreadable]], records: MountRecords | None = None
) -> Iterator[tuple[Volume | Unreadable, tuple[Fault, ...]]]:
    """Yield each volume with its faults, in the order of `volumes`.

    `records`: the driver's records of mounts; if given, a recorded mount that shows another
    device now is a fault too. A pool is asked about up to 64 volumes at once. If it does not
    answer in time, that is the fault of all its remaining volumes, and it is not asked again.
    """
    for pool, group in groupby(volumes, key=itemgetter(0)):
        unavailable: tuple[Fault, ...] = ()
        find = partial(_find_batch_faults, records, pool.host.fault_finder())
        while part := [volume for _, volume in islice(group, _BATCH)]:
            faults = [unavailable] * len(part)
            if not unavailable:
                try:
                    faults = ask(pool, partial(find, part), NAME_TIMEOUT)
                except PoolUnavailable as error:
                    unavailable = _unavailable_faults(error)
                    faults = [unavailable] * len(part)
            yield from zip(part, faults, strict=True)


def _find_batch_faults(
    records: MountRecords | None,
    finder: FaultFinder,
    volumes: Iterable[Volume | Unreadable],
    pool: Pool,
) -> list[tuple[Fault, ...]]:
    """Return the faults of each of some volumes of a pool; see find_faults."""
    volumes = list(volumes)
    healthy = _find_healthy(records, finder, volumes, pool)
    return [
        () if is_healthy else find_faults(pool, volume, records, finder)
        for volume, is_healthy in zip(volumes, healthy, strict=True)
    ]


def _find_healthy(
    records: MountRecords | None,
    finder: FaultFinder,
    volumes: Sequence[Volume | Unreadable],
    pool: Pool,
) -> Sequence[bool]:
    """Return for each volume whether one pass over all of them found it without any fault. The
    others have to be checked one by one.
    """
    if not isinstance(pool.backend, ExaminesTogether):
        return [False] * len(volumes)
    try:
        examined = pool.backend.examine([volume.id for volume in volumes])
    except PoolUnavailable:
        return [False] * len(volumes)
    return [
        not faults and _shows_no_fault(records, finder, volume, pool, device)
        for volume, (faults, device) in zip(volumes, examined, strict=True)
    ]


def _shows_no_fault(
    records: MountRecords | None,
    finder: FaultFinder,
    volume: Volume | Unreadable,
    pool: Pool,
    device: Device | None,
) -> bool:
    """Return whether the machine reports no fault of a volume with `device`; False also if that
    needs a closer examination.
    """
    if isinstance(volume, Unreadable) or (device and volume.luks_key_id is not None):
        return False
    if device and any(True for _ in finder.faults(device)):
        return False
    return not (records and own_mounts.find_swapped(pool.host, records, volume, device))


def _unavailable_faults(error: CellarError) -> tuple[Fault, ...]:
    """Return the fault of a volume whose pool is unavailable, or accepts no writes, according to
    the error.
    """
    unavailable = error if isinstance(error, PoolUnavailable) else PoolUnavailable(str(error))
    return (unavailability_fault(unavailable),)
