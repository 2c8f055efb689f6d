"""How full a thin pool is: the limits above which nothing more is created in it, and its extension.

A thin pool without free data space fails writes; one without free metadata space must be repaired
by hand. So both are watched, metadata with the lower limit.
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

# Bytes that must be free in the VG's metadata area for one more LV: LVM keeps the old text and the
# new one side by side.
METADATA_MARGIN: Final = 16 * KIB
DATA_LIMIT: Final = 0.95  # share of the pool's data; above it nothing new is promised
METADATA_LIMIT: Final = 0.80  # share of its metadata: dm-thin needs some to delete, too
EXTEND_DATA: Final = 0.80  # from here on the pool is extended, if so configured
EXTEND_METADATA: Final = 0.50
_CACHE_TIME: Final = 1.0  # seconds for which the status of the pool serves its volumes


def vg_metadata_problem(vg: lvm.VolumeGroup) -> str | None:
    """Return why the metadata area of the volume group has no space for one more logical volume;
    None: there is space.
    """
    if vg.mda_free >= METADATA_MARGIN:
        return None
    return (
        f"the metadata area of volume group {vg.name} is full ({vg.mda_free} of {vg.mda_size} bytes"
        " are left): delete volumes, or move them to a group made with --metadatasize 16m"
    )


class ThinPoolUsage:
    """Reads how full a thin pool is, and extends it.

    `extend`: how much to add at a time, in bytes or as a percentage of the pool's size; "0": never.
    """

    def __init__(self, group: Group, pool: str, extend: str) -> None:
        self._group = group
        self._pool = pool
        self._extend = extend
        self._full_name = group.full_name(pool)
        self._last: tuple[float, str | None] = (0.0, None)

    def problem(self, vg: lvm.VolumeGroup) -> str | None:
        """Return why no volume may be created in the pool now; None: volumes may be created.
        Raises: PoolUnavailable.
        """
        problem = vg_metadata_problem(vg) or self.find_problem(self.status())
        self._last = (monotonic(), problem)
        return problem

    def recent_problem(self, vg: lvm.VolumeGroup) -> str | None:
        """Return why no volume may be created in the pool now; None: volumes may be created. A
        result of less than a second ago is returned again, because lists of volumes ask for
        each volume.

        Raises: PoolUnavailable.
        """
        when, problem = self._last
        return problem if monotonic() - when < _CACHE_TIME else self.problem(vg)

    def find_problem(self, status: dm.ThinPool) -> str | None:
        """Return why no volume may be created in a pool with this status; None: volumes may be
        created.
        """
        if status.trouble:
            return f"thin pool {self._full_name}: {status.trouble}"
        if status.data_share >= DATA_LIMIT:
            return f"thin pool {self._full_name} is {status.data_share:.0%} full: `lvextend` it"
        if status.metadata_share >= METADATA_LIMIT:
            return (
                f"the metadata of thin pool {self._full_name} is {status.metadata_share:.0%} full:"
                " `lvextend --poolmetadatasize` it"
            )
        return None

    def status(self) -> dm.ThinPool:
        """Activate the pool if necessary, and return the kernel's status of it.

        Raises: PoolUnavailable if the pool cannot be activated or its status not read.
        """
        try:
            self.activate()
            return dm.thin_pool(self._device() or self._full_name)
        except CellarError as error:
            raise PoolUnavailable(f"thin pool {self._full_name} is not active: {error}") from error

    def activate(self) -> None:
        """Activate the pool, so that its status can be read. No-op if it is active.

        Raises: CommandError.
        """
        if not self._device():
            self._group.run("lvchange", "--activate", "y", self._full_name)

    def _device(self) -> str:
        """Return the device-mapper name of the pool; "" while it is not active."""
        base = dm.lv_device_name(self._group.name, self._pool)
        candidates = (f"{base}-tpool", base)  # the second while it has no volumes
        return next(filter(dm.find, candidates), "")

    def extend_if_needed(self, vg: lvm.VolumeGroup) -> None:
        """Extend the thin pool from the free space of its volume group if the pool is filling up
        and the configuration allows it.

        Raises: PoolUnavailable, CommandError.
        """
        if not parse_share(self._extend, vg.size):
            return
        status = self.status()
        data = vg.volumes[self._pool].size
        if status.metadata_share >= EXTEND_METADATA:
            self._extend_by_share(vg, "--poolmetadatasize", status.metadata_bytes)
        elif status.data_share >= EXTEND_DATA:
            self._extend_by_share(vg, "--size", data)

    def _extend_by_share(self, vg: lvm.VolumeGroup, option: str, size: Bytes) -> None:
        """Extend by the configured share of `size` bytes, as far as the group has free space.

        `option`: the option of lvextend(8), for data or metadata.
        """
        more = -(-parse_share(self._extend, size) // vg.extent_size) * vg.extent_size
        if option == "--poolmetadatasize":  # the share was configured with the data in mind
            more = -(-min(max(more, size // 4), size) // vg.extent_size) * vg.extent_size
        if more := min(more, vg.free):
            self._group.run("lvextend", option, f"+{more}b", self._full_name)
            logger.info(
                "extended thin pool {} by {} bytes of {}", self._full_name, more, option.strip("-")
            )
        else:
            logger.warning(
                "thin pool {} fills up, and its volume group has no free space", self._full_name
            )
