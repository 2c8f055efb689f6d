"""Opens and initialises configured pools of logical volumes."""

from __future__ import annotations

from driver.backends.lvm.backend import Lvm
from driver.backends.lvm.options import HostResources, Options
from driver.backends.lvm.pool import identity
from driver.backends.lvm.pool.known_groups import KnownGroups
from driver.backends.lvm.provisioning.location import configure_provisioning
from driver.backends.lvm.volume_group import Groups
from driver.core.ids import PoolId
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.records import Records


def configure_pool(
    name: str, location: str, options: Options, resources: HostResources, groups: Groups
) -> Lvm:
    """Return the backend of the pool `name`, without reading its volume group yet.

    `location`: GROUP, or GROUP/POOL for a thin pool. `groups`: the volume groups of all pools
    of the process. Raises: Invalid if `location` or the options are wrong.
    """
    return Lvm(name, configure_provisioning(name, location, options, groups), options, resources)


def open_pool(
    name: str, location: str, options: Options, resources: HostResources, groups: Groups
) -> Lvm:
    """Return the backend of the pool `name`, and open the pool if its volume group exists.

    `location`: GROUP, or GROUP/POOL for a thin pool. `groups`: the volume groups of all pools
    of the process. Raises: Invalid if `location` or the options are wrong.
    """
    backend = configure_pool(name, location, options, resources, groups)
    backend.adopt()
    return backend


def initialise_pool(
    name: str, location: str, options: Options, owner: str, records: Records
) -> PoolId:
    """Mark the volume group or thin pool at `location` as a pool of the driver `owner`, and record
    its UUIDs.

    `records`: the UUIDs of the pools of this node.

    Raises: Conflict if it is marked and recorded already; PoolUnavailable if it belongs to another
    driver or does not exist; Invalid if `location` or the options are wrong; CommandError.
    """
    provisioning = configure_provisioning(name, location, options, Groups(MemoryRecords()))
    return identity.initialise(provisioning, owner, KnownGroups(records))
