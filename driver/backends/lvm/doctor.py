"""The checks of `cellar doctor` on pools of logical volumes. They change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from driver.backends.lvm import tags
from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning import thin_usage
from driver.backends.lvm.volume_group import Group, Groups
from driver.backends.pool_type import ConfiguredPool
from driver.core.errors import CellarError, PoolUnavailable
from driver.core.findings import Finding, ok, problem, warning
from driver.core.model import MIB
from driver.core.ports.records import Records
from driver.core.quantity import show_bytes
from driver.linux import command
from driver.linux.devices import lvm

CONTROL: Final = Path("/dev/mapper/control")
METADATA_SIZE: Final = 4 * MIB  # of one area; some thousand volumes
PACKAGES: Final = {"lvm": "lvm2", "dmsetup": "dmsetup", "thin_check": "thin-provisioning-tools"}


def check(
    pools: Sequence[ConfiguredPool[str, Options]], owner: str, records: Records
) -> Iterator[Finding]:
    """Yield the findings about each pool and, if there is a pool, about the machine.

    `owner`: the driver's name. `records`: the UUIDs of the volume groups in which pools were
    found.
    """
    if not pools:
        return
    yield from check_machine()
    for pool in pools:
        yield from check_pool(pool, owner, records)


def check_machine(control: Path = CONTROL) -> Iterator[Finding]:
    """Yield findings about the programs and kernel features that pools of logical volumes need.

    `control`: the device node of device-mapper.
    """
    if missing := command.missing(PACKAGES):
        packages = " ".join(PACKAGES[program] for program in missing)
        text = f"{', '.join(missing)} not found"
        yield problem("LVM programs", text, f"apt install {packages}")
    else:
        yield ok("LVM programs", ", ".join(PACKAGES))
    if control.exists():
        yield ok("device-mapper", str(control))
    else:
        cure = "modprobe dm-mod; in a container mount the host's /dev"
        yield problem("device-mapper", f"no {control}", cure)


def check_pool(
    pool: ConfiguredPool[str, Options], owner: str, records: Records
) -> Iterator[Finding]:
    """Yield the findings about a pool in a volume group, or in a thin pool. `owner`: the driver's
    name. `records`: the UUIDs of the volume groups in which pools were found.

    Yields nothing if LVM's programs are missing; that is a finding about the machine.
    """
    subject = f"pool {pool.name}"
    if command.missing(lvm.PROGRAMS):
        return
    group_name, _, thin_name = pool.location.partition("/")
    group = Groups(records).get(group_name)
    rule = pool.options.disks
    group.configure(pool.options.devices, pool.options.uuid, rule.named_paths if rule else ())
    try:
        vg = group.report()
    except (CellarError, OSError) as error:
        yield problem(subject, str(error), "see `vgs` and `pvs`")
        return
    thin_pool = vg.volumes.get(thin_name) if thin_name else None
    if thin_name and (thin_pool is None or not thin_pool.is_thin_pool):
        text = f"volume group {group_name} has no thin pool {thin_name}"
        yield problem(subject, text, _create_thin_pool(group_name, thin_name))
        return
    yield _check_owner(pool, tags.find_owner(thin_pool.tags if thin_pool else vg.tags), owner)
    yield _check_metadata(subject, vg)
    if thin_pool:
        yield from _check_thin_pool(subject, pool.location, thin_pool, group)
    else:
        text = f"{show_bytes(vg.free)} of {show_bytes(vg.size)} free in volume group {group_name}"
        yield ok(subject, text)


def _create_thin_pool(group: str, thin: str) -> str:
    """Return the commands that make a thin pool.

    There are two: `lvcreate --errorwhenfull` is refused for thin pools (2.03.16).
    """
    return (
        f"lvcreate --type thin-pool --size SIZE --name {thin} {group}"
        f" && lvchange --errorwhenfull y {group}/{thin}"
    )


def _check_owner(pool: ConfiguredPool[str, Options], marked: str | None, owner: str) -> Finding:
    """Return whether the pool is the driver's. `marked`: the owner that its tag names, if any."""
    subject = f"pool {pool.name}"
    if marked == owner:
        return ok(subject, f"{pool.location} is marked as this driver's")
    if marked is not None:
        text = f"{pool.location} belongs to the driver {marked!r}"
        return problem(subject, text, "give it to one driver only")
    if pool.options.init:
        return ok(subject, f"{pool.location} is marked at the first start")
    devices = f",devices={':'.join(pool.options.devices)}" if pool.options.devices else ""
    cure = f"`cellar pools init {pool.name} --pool {pool.name}=lvm:{pool.location}{devices}`"
    text = f"{pool.location} is not marked yet; a start marks it if there is nothing in it"
    return warning(subject, text, cure)


def _check_metadata(subject: str, vg: lvm.VolumeGroup) -> Finding:
    if text := thin_usage.vg_metadata_problem(vg):
        return problem(subject, text, "delete volumes, or create the group again")
    text = f"a metadata area of {show_bytes(vg.mda_size)}, {show_bytes(vg.mda_free)} of it free"
    if vg.mda_size < METADATA_SIZE:
        cure = (
            "create the group with --metadatasize 16m: 1 MiB is full with some hundreds of volumes"
        )
        return warning(subject, text, cure)
    return ok(subject, text)


def _check_thin_pool(
    subject: str, location: str, thin_pool: lvm.LogicalVolume, group: Group
) -> Iterator[Finding]:
    if not thin_pool.zeroes:
        text = (
            "does not zero the blocks that it gives out: volumes would show each other's old bytes"
        )
        yield problem(subject, text, f"lvchange --zero y {location}")
    if thin_pool.queues_when_full:
        text = "writers hang for a minute when the thin pool is full"
        yield problem(subject, text, f"lvchange --errorwhenfull y {location}")
    if thin_pool.discards == "ignore":
        yield warning(
            subject,
            "discarded blocks are not given back to the thin pool",
            f"lvchange --discards passdown {location}",
        )
    usage = thin_usage.ThinPoolUsage(group, thin_pool.name, "0")
    try:
        status = usage.status()
    except PoolUnavailable as error:
        yield warning(subject, str(error), f"lvchange --activate y {location}")
        return
    text = f"{status.data_share:.0%} of data and {status.metadata_share:.0%} of metadata are used"
    if trouble := usage.find_problem(status):
        yield problem(subject, trouble, f"lvextend {location}, or delete volumes")
    elif max(status.data_share, status.metadata_share) >= thin_usage.EXTEND_DATA:
        yield warning(subject, text, "lvextend it, or give the pool extend=20%")
    else:
        yield ok(subject, text)
