"""What `cellar doctor` looks at where a pool lies in an LVM volume group. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from driver.backends.lvm import tags
from driver.backends.lvm.options import Options
from driver.backends.lvm.provisioning import thin_usage
from driver.backends.lvm.volume_group import Group, Groups
from driver.cli.doctor.checks import Finding, ok, problem, warning
from driver.cli.output import human
from driver.core.errors import CellarError, PoolUnavailable
from driver.core.model import MIB
from driver.core.ports.records import Records
from driver.linux import command
from driver.linux.devices import lvm

CONTROL: Final = Path("/dev/mapper/control")
METADATA_SIZE: Final = 4 * MIB  # of one area; some thousand volumes
PACKAGES: Final = {"lvm": "lvm2", "dmsetup": "dmsetup", "thin_check": "thin-provisioning-tools"}


def machine(control: Path = CONTROL) -> Iterator[Finding]:
    """Yield what any pool of type lvm needs of the machine."""
    if lacking := command.missing(PACKAGES):
        packages = " ".join(PACKAGES[one] for one in lacking)
        text = f"{', '.join(lacking)} not found"
        yield problem("LVM programs", text, f"apt install {packages}")
    else:
        yield ok("LVM programs", ", ".join(PACKAGES))
    if control.exists():
        yield ok("device-mapper", str(control))
    else:
        cure = "modprobe dm-mod; in a container mount the host's /dev"
        yield problem("device-mapper", f"no {control}", cure)


def pool(
    name: str, where: str, driver_name: str, options: Options, records: Records
) -> Iterator[Finding]:
    """Yield the findings about a pool in a volume group, or in a thin pool of one (`where`)."""
    what = f"pool {name}"
    if command.missing(lvm.PROGRAMS):  # which was said
        return
    called, _, thin = where.partition("/")
    group = Groups(records).get(called)
    group.configure(options.devices, options.uuid)
    try:
        vg = group.report()
    except (CellarError, OSError) as error:
        yield problem(what, str(error), "see `vgs` and `pvs`")
        return
    held = vg.volumes.get(thin) if thin else None
    if thin and (held is None or not held.is_thin_pool):
        yield problem(
            what, f"volume group {called} has no thin pool {thin}", _pool_cure(called, thin)
        )
        return
    owner = tags.owner_of(held.tags if held else vg.tags)
    yield _owner(name, where, owner, driver_name, options)
    yield _metadata(what, vg)
    if held:
        yield from _thin_pool(what, where, held, group)
    else:
        yield ok(what, f"{human(vg.free)} of {human(vg.size)} free in volume group {called}")


def _pool_cure(group: str, thin: str) -> str:
    """Return the commands that make a thin pool.

    There are two: `lvcreate --errorwhenfull` is refused for thin pools (2.03.16).
    """
    return (
        f"lvcreate --type thin-pool --size SIZE --name {thin} {group}"
        f" && lvchange --errorwhenfull y {group}/{thin}"
    )


def _owner(name: str, where: str, owner: str | None, driver_name: str, options: Options) -> Finding:
    what = f"pool {name}"
    if owner == driver_name:
        return ok(what, f"{where} is marked as this driver's")
    if owner is not None:
        return problem(what, f"{where} belongs to {owner!r}", "give it to one driver only")
    if options.init:
        return ok(what, f"{where} is marked at the first start")
    devices = f",devices={':'.join(options.devices)}" if options.devices else ""
    cure = f"`cellar pools init {name} --pool {name}=lvm:{where}{devices}`"
    return warning(
        what, f"{where} is not marked yet; a start does it if there is nothing in it", cure
    )


def _metadata(what: str, vg: lvm.VolumeGroup) -> Finding:
    if text := thin_usage.vg_metadata_problem(vg):
        return problem(what, text, "delete volumes, or make the group anew")
    text = f"a metadata area of {human(vg.mda_size)}, {human(vg.mda_free)} of it free"
    if vg.mda_size < METADATA_SIZE:
        cure = "make the group with --metadatasize 16m: 1 MiB is full with some hundreds of volumes"
        return warning(what, text, cure)
    return ok(what, text)


def _thin_pool(what: str, where: str, held: lvm.LogicalVolume, group: Group) -> Iterator[Finding]:
    if not held.zeroes:
        text = "does not clear what it gives out: volumes would show each other's old bytes"
        yield problem(what, text, f"lvchange --zero y {where}")
    if held.queues_when_full:
        text = "writers hang for a minute when it is full"
        yield problem(what, text, f"lvchange --errorwhenfull y {where}")
    if held.discards == "ignore":
        yield warning(what, "room is not given back", f"lvchange --discards passdown {where}")
    guard = thin_usage.ThinPoolUsage(group, held.name, "0")
    try:
        status = guard.status()
    except PoolUnavailable as error:
        yield warning(what, str(error), f"lvchange --activate y {where}")
        return
    text = f"{status.data_share:.0%} of data and {status.metadata_share:.0%} of metadata are used"
    if trouble := guard.problem_of(status):
        yield problem(what, trouble, f"lvextend {where}, or delete volumes")
    elif max(status.data_share, status.metadata_share) >= thin_usage.EXTEND_DATA:
        yield warning(what, text, "lvextend it, or give the pool extend=20%")
    else:
        yield ok(what, text)
