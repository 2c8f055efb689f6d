"""Undoes what interrupted calls and commands left in a pool, when the pool is opened."""

from __future__ import annotations

from collections.abc import Iterable

from loguru import logger

from driver.backends import quiesce
from driver.backends.lvm import tags
from driver.backends.lvm.pool.unfinished import UnfinishedLvs
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.backends.lvm.volume_group import Group
from driver.core.errors import CellarError
from driver.linux.devices import dm, lvm


def resume(
    provisioning: Provisioning, vg: lvm.VolumeGroup, lvs: Iterable[lvm.LogicalVolume]
) -> None:
    """Resume the device-mapper devices of a pool that a killed command or process left suspended,
    so that processes which write to them no longer hang.

    `lvs`: the logical volumes of the pool's images. LVM itself resumes logical volumes, with its
    lock held, because another LVM command may be running. Raises: CommandError, OSError.
    """
    group, names = provisioning.group, {lv.name for lv in lvs}
    suspended = dm.suspended()
    for lv in vg.volumes.values():
        uuid = dm.lv_uuid_prefix(vg.uuid, lv.uuid)
        is_suspended = any(device.uuid.startswith(uuid) for device in suspended)
        is_own = lv.name in names or group.full_name(lv.name) == provisioning.location
        if is_suspended and is_own:
            group.run("lvchange", "--refresh", group.full_name(lv.name))
            logger.warning("resumed {}, left suspended by a command that was killed", lv.name)
    for device in suspended:
        if device.uuid.startswith(dm.LAYER) and device.name in names:
            dm.resume(device.name)
            logger.warning("resumed {}, left suspended", device.name)


def recover(group: Group, unfinished: UnfinishedLvs, lv: lvm.LogicalVolume) -> None:
    """Undo what an interrupted call left on the logical volume `lv` of an image.

    The logical volume is removed if it was being built, its filesystem thawed if that may be
    frozen, and its bytes zeroed if its first contents are incomplete. Raises: CommandError,
    OSError.
    """
    if tags.BUILDING in lv.tags:
        unfinished.remove(lv.name)
        logger.info("removed {}, left by a call that did not end", lv.name)
    if tags.FREEZING in lv.tags:
        if layer := dm.find(lv.name):
            quiesce.thaw(layer.number)
        group.change_tags(lv.name, {tags.FREEZING}, ())
    if tags.FILLING in lv.tags:
        try:
            unfinished.zero(lv.name)
        except (CellarError, OSError) as error:
            logger.error("{} cannot be zeroed: {}", lv.name, error)
