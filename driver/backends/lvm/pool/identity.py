"""The identity of a volume group or thin pool as a pool: its id, its marker tag, its UUIDs."""

from __future__ import annotations

import hashlib

from driver.backends.lvm import tags
from driver.backends.lvm.pool.known_groups import KnownGroups
from driver.backends.lvm.pool.pool_lock import PoolLock
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.core.errors import Conflict, PoolUnavailable
from driver.core.ids import PoolId
from driver.linux.devices import lvm


def pool_id(provisioning: Provisioning, vg: lvm.VolumeGroup) -> PoolId:
    """Return the id of the pool: 12 hexadecimal digits of a hash of the UUIDs that LVM gave to the
    volume group and, if the pool is a thin pool, to that.
    """
    return hashlib.sha256(provisioning.identity(vg).encode()).hexdigest()[:12]


def refuse_trouble(provisioning: Provisioning, vg: lvm.VolumeGroup) -> None:
    """Raise PoolUnavailable if the volume group or its thin pool cannot be used as a pool."""
    if trouble := provisioning.trouble(vg):
        raise PoolUnavailable(trouble)


def refuse_other(provisioning: Provisioning, vg: lvm.VolumeGroup) -> None:
    """Raise PoolUnavailable if the UUID of the volume group or thin pool is not the one recorded
    for its name.

    Not raised if an administrator configured the UUID that the volume group has now.
    """
    group, location = provisioning.group, provisioning.location
    if group.uuid and group.known_groups.group_uuid(location) != vg.uuid:
        return
    if group.known_groups.differs(location, vg.uuid, provisioning.uuid(vg)):
        raise PoolUnavailable(
            f"{location} has another UUID than the pool that was here before: if it is to replace"
            " that pool, run `cellar pools init` and start the driver again"
        )


def record(known_groups: KnownGroups, provisioning: Provisioning, vg: lvm.VolumeGroup) -> None:
    """Record the UUIDs of the volume group and thin pool, so that others with the same names are
    refused later.
    """
    known_groups.record(provisioning.group.name, vg.uuid, "")
    known_groups.record(provisioning.location, vg.uuid, provisioning.uuid(vg))


def initialise(provisioning: Provisioning, owner: str, known_groups: KnownGroups) -> PoolId:
    """Mark the pool as owned by the driver `owner` and record its UUIDs in place of any recorded
    before.

    Raises: Conflict if it is marked and recorded already; PoolUnavailable if it does not exist, is
    not usable, or belongs to another driver; CommandError.
    """
    vg = provisioning.group.report()
    location = provisioning.location
    refuse_trouble(provisioning, vg)
    if not PoolLock(owner).is_owned(provisioning.tags(vg), location):
        provisioning.add_tag(tags.owner_tag(owner))
    elif not known_groups.differs(location, vg.uuid, provisioning.uuid(vg)):
        raise Conflict(f"{location} is a pool already")
    record(known_groups, provisioning, vg)
    return pool_id(provisioning, vg)
