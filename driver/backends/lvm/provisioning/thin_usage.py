"""How full a thin pool is: marks beyond which nothing new is promised, and growth before them.

A pool that has run out of data fails its writers; one that has run out of metadata must be repaired
by hand. So both are watched, and the second with more care.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from loguru import logger

from driver.backends.lvm.volume_group import Group
from driver.core.errors import CellarError, PoolUnavailable
from driver.core.model import KIB, Bytes
from driver.core.quantity import parse_share
from driver.linux.devices import dm, lvm

# What one more volume may add to the group's metadata, of which two texts must fit beside another.
METADATA_MARGIN: Final = 16 * KIB
DATA_MARK: Final = 0.95  # of the pool's data; beyond it nothing new is promised
METADATA_MARK: Final = 0.80  # of its metadata: dm-thin needs room to delete, too
EXTEND_DATA: Final = 0.80  # from here on the pool grows, if it may
EXTEND_METADATA: Final = 0.50
_FRESH: Final = 1.0  # seconds for which a look at the pool does for its volumes


def full_metadata(vg: lvm.VolumeGroup) -> str:
    """Return why the group's metadata area can take no more volumes; "" if it can."""
    if vg.mda_free >= METADATA_MARGIN:
        return ""
    return (
        f"the metadata area of volume group {vg.name} is full ({vg.mda_free} of {vg.mda_size} bytes"
        " are left): delete volumes, or move them to a group made with --metadatasize 16m"
    )


class ThinPoolUsage:
    """How full a thin pool is, and its growth.

    `extend`: by how much it grows at a time, in bytes or as a percentage of its size; "0":
    never.
    """

    def __init__(self, group: Group, pool: str, extend: str) -> None:
        self._group = group
        self._pool = pool
        self._extend = extend
        self._where = group.of(pool)
        self._last: tuple[float, str] = (0.0, "")

    def trouble(self, vg: lvm.VolumeGroup) -> str:
        """Return why nothing new should be promised; "" if it may. Raises: PoolUnavailable."""
        found = full_metadata(vg) or self.trouble_of(self.status())
        self._last = (monotonic(), found)
        return found

    def recent_trouble(self, vg: lvm.VolumeGroup) -> str:
        """Return what `trouble` returned less than a second ago, or ask again: for a list of
        volumes.
        """
        at, found = self._last
        return found if monotonic() - at < _FRESH else self.trouble(vg)

    def trouble_of(self, status: dm.ThinPool) -> str:
        """Return why nothing new should be promised in a pool of that status; "" if it may."""
        if status.trouble:
            return f"thin pool {self._where}: {status.trouble}"
        if status.data_share >= DATA_MARK:
            return f"thin pool {self._where} is {status.data_share:.0%} full: `lvextend` it"
        if status.metadata_share >= METADATA_MARK:
            return (
                f"the metadata of thin pool {self._where} is {status.metadata_share:.0%} full:"
                " `lvextend --poolmetadatasize` it"
            )
        return ""

    def status(self) -> dm.ThinPool:
        """Return the kernel's status of the pool, which is activated if it was not.

        Raises: PoolUnavailable if that fails.
        """
        try:
            self.wake()
            return dm.thin_pool(self._device() or self._where)
        except CellarError as error:
            raise PoolUnavailable(f"thin pool {self._where} is not active: {error}") from error

    def wake(self) -> None:
        """Activate the pool, so that its status can be read. No-op if it is active."""
        if not self._device():
            self._group.change("lvchange", "--activate", "y", self._where)

    def _device(self) -> str:
        """Return the name of the pool's own device; "" while it is not active."""
        base = dm.escaped(self._group.name, self._pool)
        names = (f"{base}-tpool", base)  # the second while it has no volumes
        return next(filter(dm.find, names), "")

    def tend(self, vg: lvm.VolumeGroup) -> None:
        """Extend the pool from the free space of its group once it fills up, if it may grow.

        Raises: PoolUnavailable, CommandError.
        """
        if not parse_share(self._extend, vg.size):
            return
        status = self.status()
        data = vg.volumes[self._pool].size
        if status.metadata_share >= EXTEND_METADATA:
            self._grow(vg, "--poolmetadatasize", status.metadata_bytes)
        elif status.data_share >= EXTEND_DATA:
            self._grow(vg, "--size", data)

    def _grow(self, vg: lvm.VolumeGroup, what: str, size: Bytes) -> None:
        """Extend by the configured share of `size` bytes, as far as the group has free space.

        `what`: the option of lvextend(8), for data or metadata.
        """
        more = -(-parse_share(self._extend, size) // vg.extent_size) * vg.extent_size
        if (
            what == "--poolmetadatasize"
        ):  # a percentage of little, or bytes that were meant for data
            more = -(-min(max(more, size // 4), size) // vg.extent_size) * vg.extent_size
        if more := min(more, vg.free):
            self._group.change("lvextend", what, f"+{more}b", self._where)
            logger.info("thin pool {} has {} bytes more: {}", self._where, more, what.strip("-"))
        else:
            logger.warning("thin pool {} fills up, and its group is full", self._where)
