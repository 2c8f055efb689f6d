"""Temporary snapshots from which volumes are copied while they are written to.

The temporary snapshot of a thick volume is a classic LVM snapshot: before a block of the volume is
overwritten, it is copied to free space of the group. When that space is used up the snapshot
becomes invalid, and the copy fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from secrets import token_hex

from loguru import logger

from driver.backends.lvm import tags
from driver.backends.lvm.pool.pool import LvmPool
from driver.core.errors import NoSpace
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import VolumeId
from driver.core.model import Bytes
from driver.linux.devices import dm, lvm


@contextmanager
def take_copy_snapshots(pool: LvmPool, volumes: Sequence[VolumeId]) -> Iterator[None]:
    """Take a temporary snapshot of each volume, and remove the snapshots at the end of the `with`
    block. In the block, this thread reads the snapshots when it reads the volumes through
    `Devices.reading`.

    Raises: NoSpace if there is no free space for the snapshots, or if the block fails because more
    was overwritten than a snapshot can hold; NotFound, Damaged; PoolUnavailable; CommandError.
    """
    with ExitStack() as undo:
        with pool.group.lock:
            lvs = {volume_id: pool.healthy_entry(volume_id).lv for volume_id in volumes}
            size = pool.provisioning.copy_snapshot_size(pool.refresh(), [*lvs.values()])
            snapshots = {
                volume_id: _take_snapshot(pool, lv, size, undo) for volume_id, lv in lvs.items()
            }
        reach(FailPoint.COPY_SNAPSHOT_TAKEN)
        undo.enter_context(pool.devices.substitute(snapshots))
        try:
            yield
        except OSError as error:
            if any(map(pool.provisioning.is_invalid, snapshots.values())):
                raise NoSpace(
                    f"more was written to {', '.join(map(str, snapshots))} during the copy than"
                    f" the free space of volume group {pool.group.name} could keep; the copy was"
                    " discarded"
                ) from error
            raise


def _take_snapshot(pool: LvmPool, lv: lvm.LogicalVolume, size: Bytes, undo: ExitStack) -> str:
    """Take a snapshot, which `undo` removes, and return the name of its logical volume.

    `size`: bytes for the blocks that are overwritten meanwhile.
    """
    name = f"{lv.name}{tags.COPY_SNAPSHOT}{token_hex(4)}"
    pool.protect(name)
    undo.callback(pool.unprotect, name)
    pool.provisioning.create_copy_snapshot(name, lv, size)
    undo.callback(pool.unfinished.remove, name)
    logger.debug("{} is read as {}", lv.name, dm.lv_device_name(pool.group.name, name))
    return name
