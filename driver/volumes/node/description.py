"""Describes one volume completely, for `cellar describe`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from driver.core.devices import Device, MountPoint, Usage
from driver.core.faults import Fault
from driver.core.ids import ImageId
from driver.core.model import Bytes, Snapshot, Volume
from driver.core.ports.backend_features import EstimatesUsage
from driver.core.ports.pool import Pool
from driver.volumes.health import find_faults
from driver.volumes.node import attachment
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.pools.registry import Pools
from driver.volumes.requests import GetVolume


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDescription:
    """The state of a volume on its node.

    `pool`: the pool's name; `device`: where the contents can be read, None: not attached;
    `staging`: each path with a recorded mount, and whether it is a staging path (else a target);
    `holders`: texts that name the processes, mounts and devices that use `device`; `extents`:
    number of extents of the image, None if it is not known; `written`: bytes written in the image,
    without `extents` an upper bound; `snapshots`, `clones`: the ids of those made from the volume;
    `usage`: that of its mounted filesystem, None: not mounted.
    """

    pool: str
    volume: Volume
    device: Device | None
    mounts: tuple[MountPoint, ...]
    staging: Mapping[Path, bool]
    holders: tuple[str, ...]
    faults: tuple[Fault, ...]
    extents: int | None
    written: Bytes
    snapshots: tuple[ImageId, ...]
    clones: tuple[ImageId, ...]
    usage: Usage | None


class Describer:
    """Describes volumes of this node, without changing anything."""

    def __init__(self, pools: Pools, records: MountRecords) -> None:
        self._pools = pools
        self._records = records

    def staged(self) -> Mapping[str, tuple[str, int]]:
        """Return, by the volume's id, the staging path and the device number (dev_t) of each staged
        volume.
        """
        return self._records.staged()

    def describe(self, request: GetVolume) -> VolumeDescription:
        """Return the description of the volume.

        The extents of its image are read, which may take seconds while the image is being written
        to. Raises: NotFound, PoolUnavailable, Damaged.
        """
        pool, volume = self._pools.volume(request.volume_id)
        device = attachment.contents_device(pool, volume)
        mounts = pool.host.mount_points(device) if device else ()
        filesystems = [mount.target for mount in mounts if not mount.node]
        extents, written = _usage_of_pool(pool, volume)
        images = pool.backend.known()
        return VolumeDescription(
            pool=pool.name,
            volume=volume,
            device=device,
            mounts=mounts,
            staging={
                each.path: each.is_staging for each in self._records.find_by_volume(volume.id)
            },
            holders=pool.host.holders(device) if device else (),
            faults=find_faults(pool, volume, self._records),
            extents=extents,
            written=written,
            snapshots=_made_from(volume, (each for each in images if isinstance(each, Snapshot))),
            clones=_made_from(volume, (each for each in images if isinstance(each, Volume))),
            usage=pool.host.usage(filesystems[0]) if filesystems else None,
        )


def _made_from(volume: Volume, images: Iterable[Volume | Snapshot]) -> tuple[ImageId, ...]:
    return tuple(image.id for image in images if image.source == volume.id)


def _usage_of_pool(pool: Pool, volume: Volume) -> tuple[int | None, Bytes]:
    """Return the number of the image's extents, and their bytes; None: only a bound is known."""
    if isinstance(pool.backend, EstimatesUsage):
        return None, pool.backend.written_bytes(volume.id)
    count = written = 0
    for extent in pool.backend.extents(volume.id):
        count, written = count + 1, written + extent.length
    return count, written
