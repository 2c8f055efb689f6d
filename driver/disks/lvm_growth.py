"""Grows a volume group after its disks were enlarged, and a thin pool after its group was, while in
use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from driver.backends.lvm.options import Options
from driver.backends.lvm.pool import identity
from driver.backends.lvm.provisioning.location import configure_provisioning
from driver.backends.lvm.volume_group import Groups
from driver.core.errors import Refused
from driver.core.ids import PoolId
from driver.core.model import Bytes
from driver.core.ports.memory_records import MemoryRecords
from driver.disks import lvm_pool
from driver.linux.devices import lvm

_BLOCKS: Final = Path("/sys/class/block")


def grow_group(location: str, pool_id: PoolId) -> tuple[Bytes, Bytes]:
    """Grow the volume group at `location`, GROUP or GROUP/POOL, to the size of its disks, and its
    thin pool by the space gained.

    `pool_id`: the pool's id in the driver; a group with the same name and another id is not
    touched. Returns the size of the group, or of the thin pool, in bytes, before and afterwards.
    Raises: Refused: the group has another pool; PoolUnavailable; CommandError.
    """
    groups = Groups(MemoryRecords())
    provisioning = configure_provisioning(location, location, _any_device(), groups)
    before = provisioning.group.report()
    identity.refuse_trouble(provisioning, before)
    if identity.pool_id(provisioning, before) != pool_id:
        raise Refused(f"{location} is another pool on this machine than the driver has")
    lvm.change(before.disks, "pvresize", *map(str, before.disks))
    after = provisioning.group.report()
    thin_pool = location.partition("/")[2]
    if not thin_pool:
        return before.size, after.size
    if (gained := after.size - before.size) > 0:
        lvm_pool.extend_thin_pool(after, thin_pool, min(gained, after.free))
    return before.volumes[thin_pool].size, provisioning.group.report().volumes[thin_pool].size


def _any_device() -> Options:
    """Return LVM options with which all devices may be used, also those that otherwise have to be
    configured, but none to which a pod can write. The pool's id tells its group from others with
    the same name.
    """
    return Options(
        devices=tuple(f"/dev/{path.name.replace('!', '/')}" for path in _BLOCKS.iterdir())
    )
