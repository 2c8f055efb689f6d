"""Volumes that were unpublished while their pool could not be written: recorded when it can be
written again.

Kubernetes does not repeat a ControllerUnpublishVolume that succeeded. Without this record the
volume would count as published for ever, and could not be deleted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from driver.core.ids import VolumeId
from driver.core.model import Volume
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.core.ports.records import Records

_PREFIX: Final = "unpublished "  # of the keys, beside those of places


class PendingUnpublishes:
    """The calls of ControllerUnpublishVolume that still have to be written to the volumes' records,
    because the pool was unavailable. They are stored in `records`, outside of the pools; None: in
    memory, until this process ends.
    """

    def __init__(self, records: Records | None = None) -> None:
        self._records = records or MemoryRecords()

    def note(self, volume_id: VolumeId, node: str | None) -> None:
        """Record that the volume is no longer published to `node` (None: to any node), whatever the
        pool's record contains.
        """
        self._records.write(f"{_PREFIX}{volume_id}", {"node": node or ""})

    def apply(self, pool: Pool, volume: Volume) -> Volume:
        """Write a pending unpublication of the volume to its record in the pool, and return the
        volume as recorded now; no-op if none is pending.

        The caller must hold the volume's lock. Raises: PoolUnavailable.
        """
        key = f"{_PREFIX}{volume.id}"
        if (noted := self._records.get(key)) is None:
            return volume
        if volume.published and noted.get("node") in {"", volume.published.node}:
            volume = replace(volume, published=None)
            pool.backend.record(volume)
        self._records.remove(key)
        return volume
