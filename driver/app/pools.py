"""The table of pool types, and the opening of a node's pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from driver.app.settings import ServeSettings
from driver.backends.loopfile import pool_type as loopfile
from driver.backends.lvm import pool_type as lvm
from driver.backends.memory import pool_type as memory
from driver.backends.node_resources import NodeResources
from driver.backends.pool_threads import Answering
from driver.backends.pool_type import PoolSpec, PoolType
from driver.core.addresses import csi_socket
from driver.core.errors import Invalid
from driver.core.ports.memory_records import memory_state
from driver.core.ports.pool import Pool
from driver.core.ports.records import NodeState
from driver.linux.state.node_state import node_state

if TYPE_CHECKING:
    from driver.core.ports.node_events import NodeEvents
    from driver.disks.claims import DiskClaims

# A new backend is a package, and a line here.
POOL_TYPES: Final[Sequence[PoolType[Any, Any]]] = (
    loopfile.POOL_TYPE,
    lvm.POOL_TYPE,
    memory.POOL_TYPE,
)


def find_pool_type(spec: PoolSpec) -> PoolType[Any, Any]:
    """Return the type of the pool. Raises: Invalid: there is no such type."""
    for pool_type in POOL_TYPES:
        if pool_type.name == spec.type:
            return pool_type
    known = ", ".join(pool_type.name for pool_type in POOL_TYPES)
    raise Invalid(f"pool {spec.name}: type {spec.type!r} is not one of {known}")


def driver_folder(settings: ServeSettings) -> Path | None:
    """Return the folder for this driver's socket in kubelet's directory, which only drivers with
    this name use; None: kubelet has not created the directory yet, or the driver's socket is
    elsewhere.
    """
    if kubelet := settings.kubelet_dir:
        return csi_socket(kubelet, settings.driver_name).parent if kubelet.is_dir() else None
    folder = settings.endpoint.parent  # registered by the registrar, at the same place
    return folder if folder.name == settings.driver_name else None


def open_state(settings: ServeSettings) -> NodeState:
    """Return the store of what the driver must still know after a restart: files in the state
    directory or, if all pools are simulated, memory.

    Raises: Invalid: a pool has an unknown type.
    """
    if any(find_pool_type(spec).keeps_state for spec in settings.pools):
        return node_state(settings.state_dir, settings.driver_name)
    return memory_state()


def open_pools(settings: ServeSettings, state: NodeState) -> list[Pool]:
    """Return an object for each configured pool; whether the pool's disk is there is not checked
    yet.

    To be called before gRPC is imported, because it starts a child process, which must not inherit
    gRPC's threads. Raises: Invalid: a pool has an unknown type, or options that its type does not
    have.
    """
    types = [find_pool_type(spec) for spec in settings.pools]
    node = NodeResources(settings.driver_name, settings.luks, state.pools, settings.pods_cgroup)
    return [
        _open(spec, pool_type, node) for spec, pool_type in zip(settings.pools, types, strict=True)
    ]


def disk_claims(
    settings: ServeSettings, pools: Sequence[Pool], state: NodeState, events: NodeEvents
) -> DiskClaims | None:
    """Return the object that gives blank disks to the pools that take them; None: no pool takes
    blank disks.

    `pools`: the result of `open_pools`. Raises: Invalid: a pool has an unknown type or option.
    """
    configured = [
        (find_pool_type(spec).read(spec), pool)
        for spec, pool in zip(settings.pools, pools, strict=True)
        if spec.options.get("claimBlankDisks")
    ]
    claiming = [pair for pair in configured if pair[0].options.claimBlankDisks]
    if not claiming:
        return None
    from driver.disks import configured_claims  # noqa: PLC0415 - pyudev; where it is used

    owner, known = settings.driver_name, state.pools
    return configured_claims.make(claiming, owner, known, events)


def _open(spec: PoolSpec, pool_type: PoolType[Any, Any], node: NodeResources) -> Pool:
    """Return the pool with its type and location, and with threads of its own that ask it."""
    pool = pool_type.open(pool_type.read(spec), node)
    answers = Answering(spec.name, silent=pool_type.silent_after)
    return replace(pool, type=spec.type, location=spec.location, answers=answers)
