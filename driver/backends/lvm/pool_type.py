"""Pools of logical volumes as a pool type: `--pool NAME=lvm:GROUP[/THINPOOL]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from driver.backends.lvm.opening import configure_pool, initialise_pool
from driver.backends.lvm.options import Options
from driver.backends.lvm.volume_group import Groups
from driver.backends.node_resources import NodeResources
from driver.backends.option_readers import read_boolean, read_overcommit, read_reserve
from driver.backends.pool_threads import SILENT_LVM
from driver.backends.pool_type import ConfiguredPool, PoolType
from driver.core.errors import Failed, Invalid
from driver.core.findings import Finding
from driver.core.ids import PoolId
from driver.core.ports.pool import Pool
from driver.core.ports.records import Records
from driver.linux import command
from driver.linux.devices.lvm import PROGRAMS
from driver.linux.disks.disk_rule import parse_rule

UUID: Final = "([A-Za-z0-9]{32}|[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6})"
_PATH: Final = re.compile(r"/[^,\s]*", re.ASCII)
_DASHES: Final = (0, 6, 10, 14, 18, 22, 26, 32)  # where LVM sets dashes into a UUID


def read_location(text: str) -> str:
    """Return `text`, GROUP or GROUP/THINPOOL, unchanged: it is parsed when the pool is opened."""
    return text


def read_stripes(text: str) -> int:
    """Return the number of stripes in `text`, 1 to 99. Raises: ValueError: another text."""
    return _read_count(text, 1)


def read_mirrors(text: str) -> int:
    """Return the number of further copies in `text`, 0 to 99. Raises: ValueError: another text."""
    return _read_count(text, 0)


def _read_count(text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) < least:
        raise ValueError(f"a number between {least} and 99 is expected")
    return int(text)


def read_devices(text: str) -> tuple[str, ...]:
    """Return the device paths in `text`, which are separated by colons.

    A colon that is not followed by a slash belongs to the path. Raises: ValueError: a path is
    relative, or contains `..`.
    """
    paths = tuple(re.split(r":(?=/)", text))
    if not all(map(_PATH.fullmatch, paths)) or any(".." in path.split("/") for path in paths):
        raise ValueError("absolute paths of devices are expected, with `:` between them")
    return paths


def read_uuid(text: str) -> str:
    """Return the UUID of a volume group with dashes, as `vgs -o vg_uuid` prints it.

    `text` may be without dashes. Raises: ValueError: it is no UUID of LVM.
    """
    if not re.fullmatch(UUID, text, re.ASCII):
        raise ValueError("the UUID of a volume group is expected, as `vgs -o vg_uuid` shows it")
    plain = text.replace("-", "")
    return "-".join(plain[start:end] for start, end in pairwise(_DASHES))


def _groups(node: NodeResources) -> Groups:
    """Make the table of volume groups, one for all pools of a process."""
    return Groups(node.pool_records)


def _open(pool: ConfiguredPool[str, Options], node: NodeResources) -> Pool:
    """Return the pool.

    Raises: Invalid: LVM is not installed, the location is none, or no rule says which disks to
    take.
    """
    if pool.options.claimBlankDisks and not pool.options.disks:
        raise Invalid(f"pool {pool.name}: claimBlankDisks needs `disks`, which disks it may take")
    if missing := command.missing(PROGRAMS):
        raise Invalid(f"pool {pool.name}: {', '.join(missing)} not found: install lvm2")
    groups = node.shared(_groups)
    backend = configure_pool(pool.name, pool.location, pool.options, node, groups)
    return Pool(pool.name, backend, node.host, node.crypt, io_limits=node.io_limits)


def _initialise(pool: ConfiguredPool[str, Options], owner: str, records: Records) -> PoolId:
    """Mark the group or thin pool as a pool of the driver `owner`, and record its UUIDs.

    Raises: Conflict, PoolUnavailable, Invalid; Failed: it is marked, but could not be recorded.
    """
    pool_id = initialise_pool(pool.name, pool.location, pool.options, owner, records)
    if records.problem:
        raise Failed(f"the pool is marked, but its UUIDs could not be recorded: {records.problem}")
    return pool_id


def _check(
    pools: Sequence[ConfiguredPool[str, Options]], owner: str, records: Records
) -> Iterable[Finding]:
    from driver.backends.lvm import doctor  # noqa: PLC0415 - for `cellar doctor` only

    return doctor.check(pools, owner, records)


POOL_TYPE: Final = PoolType(
    name="lvm",
    read_location=read_location,
    options=Options,
    readers={
        "overcommit": read_overcommit,
        "reserve": read_reserve,
        "extend": read_reserve,
        "stripes": read_stripes,
        "mirrors": read_mirrors,
        "devices": read_devices,
        "uuid": read_uuid,
        "init": read_boolean,
        "disks": parse_rule,
        "claimBlankDisks": read_boolean,
    },
    open=_open,
    initialise=_initialise,
    check=_check,
    silent_after=SILENT_LVM,
)
