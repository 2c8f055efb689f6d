"""Volumes that were unpublished while their pool could not be written: recorded when it can.

Kubernetes repeats no ControllerUnpublishVolume that succeeded. Without this note the record in the
pool would say for ever that the volume is published, and no call could delete it.
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
    """Unpublications that the volume's pool could not record, stored outside of the pools in
    `records`; None: in memory, until this process ends.
    """

    def __init__(self, records: Records | None = None) -> None:
        self._records = records or MemoryRecords()

    def note(self, volume_id: VolumeId, node: str | None) -> None:
        """Record that the volume is no longer published to `node` (None: to any), whatever its
        pool's record says.
        """
        self._records.write(f"{_PREFIX}{volume_id}", {"node": node or ""})

    def apply(self, pool: Pool, volume: Volume) -> Volume:
        """Apply a noted unpublication to the pool's record, and return the volume as it is
        recorded now; no-op if none was noted.

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
