"""Pools of loop files as a type of pool: `--pool NAME=loopfile:/DIRECTORY`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from loguru import logger

from driver.backends.loopfile.backend import Loopfile
from driver.backends.loopfile.options import Options
from driver.backends.loopfile.pool import marker
from driver.backends.loopfile.pool.pool_disk import PoolDisk
from driver.backends.loopfile.state import Shared
from driver.backends.node_resources import NodeResources
from driver.backends.option_readers import (
    read_allocation,
    read_boolean,
    read_disk,
    read_overcommit,
    read_path,
    read_reserve,
)
from driver.backends.pool_type import ConfiguredPool, PoolType
from driver.core.errors import Invalid
from driver.core.findings import Finding
from driver.core.ids import PoolId
from driver.core.ports.pool import Pool
from driver.core.ports.records import Records
from driver.linux import sysfs
from driver.linux.devices import loop_ioctl
from driver.linux.disks.disk_rule import parse_rule
from driver.linux.disks.find_filesystem import DiskSource
from driver.linux.disks.pool_filesystem import filesystem_label


def _shared(node: NodeResources) -> Shared:
    """Make what all pools of loop files of a process have in common."""
    return Shared(known=node.pool_records)


def _open(pool: ConfiguredPool[Path, Options], node: NodeResources) -> Pool:
    """Return the pool; an error is logged if this machine cannot attach its volumes."""
    _check_claim(pool)
    if text := loop_ioctl.find_problem():
        logger.error("pool {} cannot attach volumes: {}", pool.name, text)
    elif text := sysfs.find_problem():
        logger.error("pool {} cannot attach thick volumes: {}", pool.name, text)
    backend = Loopfile(
        pool.name,
        pool.location,
        pool.options,
        node.freezer,
        node.owner,
        shared=node.shared(_shared),
    )
    return Pool(pool.name, backend, node.host, node.crypt, io_limits=node.io_limits)


def _check_claim(pool: ConfiguredPool[Path, Options]) -> None:
    """Raise Invalid unless a pool that takes blank disks says which, and finds what it has made."""
    options, source = pool.options, DiskSource("LABEL", filesystem_label(pool.name))
    if not options.claimBlankDisks:
        return
    if not (options.disks and options.disk):
        raise Invalid(
            f"pool {pool.name}: claimBlankDisks needs `disks`, which disks it may take, and"
            f" `disk={source}`, how it finds the one that it took"
        )
    if options.disk.key and options.disk != source:
        raise Invalid(f"pool {pool.name}: it makes a filesystem with {source}, not {options.disk}")


def _initialise(pool: ConfiguredPool[Path, Options], owner: str, _: Records) -> PoolId:
    """Mark the directory as a pool of the driver `owner`.

    Raises: Conflict, Refused; PoolUnavailable, if the pool's disk cannot be mounted there.
    """
    if pool.options.disk:
        PoolDisk(pool.location, pool.options.disk).ensure_mounted()
    return marker.initialise(pool.location, owner)


def _check(
    pools: Sequence[ConfiguredPool[Path, Options]], _owner: str, records: Records
) -> Iterable[Finding]:
    from driver.backends.loopfile import doctor  # noqa: PLC0415 - for `cellar doctor` only

    return doctor.check(pools, records)


POOL_TYPE: Final = PoolType(
    name="loopfile",
    read_location=read_path,
    options=Options,
    readers={
        "allocation": read_allocation,
        "overcommit": read_overcommit,
        "reserve": read_reserve,
        "init": read_boolean,
        "disk": read_disk,
        "disks": parse_rule,
        "claimBlankDisks": read_boolean,
    },
    open=_open,
    initialise=_initialise,
    check=_check,
)
