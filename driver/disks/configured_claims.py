"""Creates the claims of configured pools that take blank disks by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from driver.backends.lvm.backend import Lvm
from driver.backends.pool_type import ConfiguredPool
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.pool import Pool
from driver.core.ports.records import Records
from driver.disks.claims import Claim, DiskClaims
from driver.disks.loopfile_claim import LoopfileClaim
from driver.disks.lvm_claim import LvmClaim

Claiming: TypeAlias = tuple[ConfiguredPool[Any, Any], Pool]


def make(
    claiming: Sequence[Claiming], owner: str, known: Records, events: NodeEvents
) -> DiskClaims:
    """Return the object that gives blank disks to the pools `claiming`.

    `owner`: the driver's name. `known`: the records of which pool was found at which location.
    `events`: records which disks were taken.
    """
    return DiskClaims([_claim(*pair, owner, known) for pair in claiming], events)


def _claim(configured: ConfiguredPool[Any, Any], pool: Pool, owner: str, known: Records) -> Claim:
    options = configured.options
    if isinstance(pool.backend, Lvm):
        return LvmClaim(configured.name, configured.location, options.disks, owner, pool.backend)
    return LoopfileClaim(
        configured.name, configured.location, options.disk, options.disks, owner, known
    )
