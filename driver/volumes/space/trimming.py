"""Trims filesystems (fstrim) in slices of milliseconds, to return freed space to their pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from driver.core.ids import VolumeId
from driver.core.model import KIB, Bytes, FsType, Volume
from driver.core.ports.pool import Pool
from driver.volumes.locks import Locks
from driver.volumes.node import attachment
from driver.volumes.pools.registry import Pools

# btrfs discards by itself (discard=async), and knows no ranges of a device: a slice would be all.
SLICED: Final = frozenset({FsType.EXT4, FsType.XFS})
SMALLEST: Final = 64 * KIB  # of a free extent; shorter ones would only break the pool's into pieces


@dataclass(frozen=True, slots=True)
class TrimSlice:
    """The request to discard (trim) the free extents of a mounted volume's filesystem between the
    bytes `start` and `start + length`.

    Other calls for the volume wait until this request is done, instead of being refused.
    """

    volume_id: VolumeId
    start: Bytes
    length: Bytes

    @property
    def locks(self) -> Locks:
        keys, pools = frozenset({self.volume_id.key}), frozenset({self.volume_id.pool})
        return Locks(keys, pools=pools, brief=True)


@dataclass(frozen=True, slots=True)
class SliceDone:
    """The result of trimming one slice, a byte range, of a volume's filesystem. `discarded`: how
    many bytes were discarded; `last`: whether the slice reaches the end of the volume.
    """

    discarded: Bytes
    last: bool


_NOTHING: Final = SliceDone(0, last=True)


class Trimmer:
    """Discards (trims) the free extents of the filesystems of sparse and thin volumes, so that
    their pools get the space back.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def all(self) -> Sequence[Pool]:
        """Return all pools, in the order of the configuration."""
        return self._pools.all()

    def candidates(self, pool: Pool) -> Sequence[VolumeId]:
        """Return the ids of the pool's volumes whose filesystem may have free extents to discard,
        from the records in memory, without asking the pool.
        """
        known = pool.backend.known()
        return [
            image.id
            for image in known
            if isinstance(image, Volume) and image.discards and image.fs in SLICED
        ]

    def trim(self, request: TrimSlice) -> SliceDone:
        """Discard the free extents in the byte range of the volume's filesystem that the request
        names. Returns how many bytes were discarded; no-op if the volume is not mounted writable.

        Raises: NotFound; PoolUnavailable; Damaged; Refused; OSError: the kernel does not support
        it, or failed.
        """
        pool, volume = self._pools.volume(request.volume_id)
        end = request.start + request.length
        if not (device := attachment.contents_device(pool, volume)):
            return _NOTHING
        mounts = pool.host.mount_points(device)
        writable = [mount for mount in mounts if not (mount.node or mount.read_only)]
        if not writable or any(mount.turned for mount in mounts):
            return _NOTHING
        discarded = pool.host.trim(writable[0], request.start, request.length, SMALLEST)
        return SliceDone(discarded, last=end >= volume.size)
