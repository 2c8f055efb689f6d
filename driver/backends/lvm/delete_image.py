"""Deletes an image of a pool of logical volumes by one `lvremove`.

Its only caller is the backend's `delete`.
"""

from __future__ import annotations

from driver.backends.lvm.pool.pool import LvmPool
from driver.core.errors import Busy, NotFound, Refused
from driver.core.ids import ImageId


def remove_image(pool: LvmPool, image_id: ImageId, pool_name: str) -> None:
    """Remove the logical volume of an image, and remove the image from the pool's list in memory.

    The caller holds the lock of the volume group. `pool_name`: for the error text. Raises:
    NotFound; Refused: the image is attached; Busy: it is being read; PoolUnavailable; CommandError.
    """
    pool.refresh()
    if not pool.index.image(image_id):
        raise NotFound(f"no image {image_id} in pool {pool_name}")
    if device := pool.devices.find(image_id):
        raise Refused(f"{image_id} is attached as {device.path}")
    if pool.devices.is_read(image_id):
        raise Busy(f"{image_id} is being read")
    if entry := pool.index.entries.get(image_id):
        pool.group.run("lvremove", pool.group.full_name(entry.lv.name))
    pool.index.remove(image_id)
