"""What is wrong with volumes and pools: what the pool sees below, and the machine above."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from pathlib import Path

from driver.core.errors import Damaged, PoolAway
from driver.core.ids import VolumeId
from driver.core.model import Fault, Unreadable, Volume
from driver.core.ports import Pool
from driver.core.results import VolumePage
from driver.volumes import devices, pages
from driver.volumes.intents import Look, Page, Stats
from driver.volumes.pools import Pools


class Health:
    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def of_volume(self, wanted: Look) -> tuple[Fault, ...]:
        """NotFound. One whose pool is away, or whose record is damaged, is ill, not unknown."""
        try:
            pool, volume = self._pools.volume(wanted.volume_id)
        except PoolAway as error:
            return (Fault("PoolAway", str(error), "inaccessible"),)
        except Damaged as error:
            return (Fault("RecordDamaged", str(error), "data_loss"),)
        return faults_of(pool, volume)

    def of_volumes(self, wanted: Page) -> VolumePage:
        """Those with a fault only."""
        every = self._pools.listed_volumes()
        ill = ((pool, one) for pool, one in every if faults_of(pool, one))
        page, following = pages.cut(ill, wanted.most, wanted.after)
        return VolumePage(tuple((one, faults_of(pool, one)) for pool, one in page), following)

    def at(self, wanted: Stats) -> tuple[Fault, ...]:
        """On the node: also what else the volume's places show. They need not be there."""
        paths = filter(None, (wanted.path, wanted.staging))
        return self.of_volume(Look(wanted.volume_id)) + tuple(
            fault for path in paths for fault in self._misplaced(wanted.volume_id, path)
        )

    def of_storage(self) -> tuple[Fault, ...]:
        return tuple(chain.from_iterable(pool.backend.faults(None) for pool in self._pools.all()))

    def _misplaced(self, volume_id: VolumeId, path: Path) -> tuple[Fault, ...]:
        host = self._pools.host_of(volume_id)
        place = host.shown_at(path)
        device = devices.attached(self._pools, volume_id)
        if place is None or devices.belongs(host, place, device, volume_id):
            return ()
        if host.shown_at(path) != place:  # it is being taken down just now
            return ()
        return (Fault("ForeignMount", f"{path} shows something else", "inaccessible"),)


def faults_of(pool: Pool, volume: Volume | Unreadable) -> tuple[Fault, ...]:
    found = tuple(pool.backend.faults(volume.id))
    if isinstance(volume, Unreadable):
        return found
    with suppress(PoolAway):
        device = devices.of(pool, volume)
        above = tuple(pool.host.faults(device)) if device else ()
        if above and devices.of(pool, volume) == device:  # not another volume's by now
            found += above
    return found
