"""LVM: one JSON report for each query, with sizes in bytes, and commands that can access the
group's disks only.

No command asks questions, waits for udev, starts a daemon, or reads inside logical volumes, in
which a pod may have created volume groups of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from driver.core.model import Bytes
from driver.linux import command

TIMEOUT: Final = 120.0  # seconds; lvm waits for its own lock on the group without a bound
PROGRAMS: Final = ("lvm", "dmsetup")

# With udev_sync an lvm without udevd beside it, as in a container, fails to find its own nodes.
CONFIG: Final = (
    "devices{scan_lvs=0 use_devicesfile=0 issue_discards=0}"
    " activation{udev_sync=0 udev_rules=0 monitoring=0 retry_deactivation=0}"
    " backup{backup=0 archive=0} global{use_lvmpolld=0 notify_dbus=0}"
)

_JSON: Final = ("--reportformat", "json", "--units", "b", "--nosuffix")
_VG: Final = (
    "vg_name,vg_uuid,vg_extent_size,vg_mda_free,vg_mda_size"
    ",vg_tags,vg_exported,vg_partial,vg_shared,vg_permissions"
)
_PV: Final = "pv_name,pv_pe_count,pv_pe_alloc_count,pv_allocatable,pv_missing"
_LV: Final = "lv_uuid,lv_name,lv_size,lv_tags,lv_layout,pool_lv,lv_when_full,lv_health_status"
_SEG: Final = "lv_uuid,stripes,chunk_size,zero,discards,seg_pe_ranges"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    """A logical volume, as `lvm fullreport` reports it. `pool`: the name of its thin pool, or "";
    `health`: the problem that LVM reports, or "".
    """

    name: str
    uuid: str
    size: Bytes
    tags: frozenset[str]
    layout: frozenset[str]  # linear, thin, pool, sparse, raid, ...
    pool: str  # of a thin volume; else ""
    health: str  # "" when nothing is wrong
    queues_when_full: bool  # a full thin pool lets writers wait instead of failing
    chunk_size: Bytes  # of a thin pool; else 0
    zeroes: bool  # a thin pool clears a chunk before it is first used
    discards: str  # of a thin pool: passdown, nopassdown, ignore
    areas: int  # stripes or mirrors of it, side by side
    ranges: tuple[str, ...]  # "/dev/sda:0-31", physical extents; of a mirrored one its hidden parts

    @property
    def is_thin_pool(self) -> bool:
        """Return whether the logical volume is a thin pool itself."""
        return {"thin", "pool"} <= self.layout


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroup:
    """A volume group with its logical volumes, as `lvm fullreport` reports it. `free_on`: the free
    bytes of each disk; `mda_free`, `mda_size`: bytes of LVM's metadata area; `trouble`: why the
    group cannot be used, or None.
    """

    name: str
    uuid: str
    extent_size: Bytes
    size: Bytes
    free_on: Mapping[Path, Bytes]  # on the disks where LVM may allocate extents
    mda_free: Bytes
    mda_size: Bytes
    tags: frozenset[str]
    trouble: str | None  # why nothing should be done with it; None: all is well
    read_only: bool = False  # by its metadata: none is made, changed or removed
    disks: tuple[Path, ...]
    volumes: Mapping[str, LogicalVolume]  # by name

    @property
    def free(self) -> Bytes:
        """Return the free bytes on all disks of the volume group on which LVM may allocate
        extents.
        """
        return sum(self.free_on.values())


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that is a physical volume of LVM, as `lvm pvs` reports it. `group`, `group_uuid`: its
    volume group; "": it is in none.
    """

    path: Path
    group: str
    group_uuid: str
    exported: bool


def change(disks: Sequence[Path], verb: str, *words: str) -> None:
    """Run one LVM command that changes the volume group on these disks. `verb`: the command, such
    as lvcreate; `words`: its arguments.

    Raises: CommandError, CommandTimeout.
    """
    command.run([*_lvm(verb, disks), "--yes", *words], timeout=TIMEOUT)


def report(disks: Sequence[Path], group: str) -> VolumeGroup:
    """Return the volume group called `group`, with its disks and logical volumes.

    Raises: CommandError, if the group is not on `disks`; CommandTimeout.
    """
    columns = zip(("vg", "pv", "lv", "seg"), (_VG, _PV, _LV, _SEG), strict=True)
    selection = chain.from_iterable(
        ("--configreport", kind, "-o", names) for kind, names in columns
    )
    words = [
        *_lvm("fullreport", disks),
        *_JSON,
        *selection,
        "--configreport",
        "pvseg",
        "-o",
        "pv_name",
    ]
    return parse_report(command.run([*words, group], timeout=TIMEOUT))


def parse_report(text: str) -> VolumeGroup:
    """Return the volume group in `text`, the output of `lvm fullreport` for one group. No command
    is run.
    """
    [section] = json.loads(text)["report"]
    [row] = section["vg"]
    extent_size = int(row["vg_extent_size"])
    # the first segment of each
    segments = {segment["lv_uuid"]: segment for segment in reversed(section["seg"])}
    ranges = _ranges(section["seg"], "lv_uuid")
    return VolumeGroup(
        name=row["vg_name"],
        uuid=row["vg_uuid"],
        extent_size=extent_size,
        size=sum(int(pv["pv_pe_count"]) for pv in section["pv"]) * extent_size,
        free_on={
            Path(pv["pv_name"]): _free_extents(pv) * extent_size
            for pv in section["pv"]
            if not pv["pv_missing"] and pv["pv_allocatable"]
        },
        mda_free=int(row["vg_mda_free"]),
        mda_size=int(row["vg_mda_size"]),
        tags=_split(row["vg_tags"]),
        trouble=_trouble(row, section["pv"]),
        read_only=row["vg_permissions"] == "read-only",
        disks=tuple(Path(pv["pv_name"]) for pv in section["pv"] if not pv["pv_missing"]),
        volumes={
            lv["lv_name"]: _volume(lv, segments.get(lv["lv_uuid"], {}), ranges)
            for lv in section["lv"]
        },
    )


def physical_extents(disks: Sequence[Path], group: str) -> Mapping[str, tuple[str, ...]]:
    """Return the physical extents of each logical volume of the volume group, such as
    "/dev/sda:0-31", by the logical volume's name.

    Hidden parts of mirrored volumes are included. Raises: CommandError, CommandTimeout.
    """
    words = [*_lvm("lvs", disks), *_JSON, "--all", "-o", "lv_name,seg_pe_ranges", group]
    return parse_physical_extents(command.run(words, timeout=TIMEOUT))


def metadata_size(disks: Sequence[Path], thin_pool: str) -> Bytes:
    """Return the size of the metadata of the thin pool GROUP/POOL, in bytes.

    Raises: CommandError, CommandTimeout.
    """
    words = [*_lvm("lvs", disks), *_JSON, "-o", "lv_metadata_size", thin_pool]
    [section] = json.loads(command.run(words, timeout=TIMEOUT))["report"]
    return int(section["lv"][0]["lv_metadata_size"])


def parse_physical_extents(text: str) -> Mapping[str, tuple[str, ...]]:
    """Return the physical extents of each logical volume, by its name, in the output of `lvm lvs`,
    which has a row for each segment. No command is run.
    """
    [section] = json.loads(text)["report"]
    ranges = _ranges(section["lv"], "lv_name")
    return {name.strip("[]"): extents for name, extents in ranges.items()}


def disks(candidates: Sequence[Path]) -> tuple[Disk, ...]:
    """Return the physical volumes among the devices `candidates`, with their groups.

    Raises: CommandError, CommandTimeout.
    """
    words = ["-o", "pv_name,vg_name,vg_uuid,vg_exported"]
    return parse_disks(command.run([*_lvm("pvs", candidates), *_JSON, *words], timeout=TIMEOUT))


def parse_disks(text: str) -> tuple[Disk, ...]:
    """Return the physical volumes in `text`, the output of `lvm pvs`. No command is run."""
    [section] = json.loads(text)["report"]
    return tuple(
        Disk(Path(row["pv_name"]), row["vg_name"], row["vg_uuid"], bool(row["vg_exported"]))
        for row in section["pv"]
    )


def _lvm(verb: str, disks: Sequence[Path]) -> list[str]:
    """Return the beginning of a command that sees these disks only."""
    return ["lvm", verb, "--config", CONFIG, "--devices", ",".join(map(str, disks))]


def _volume(
    row: Mapping[str, str], segment: Mapping[str, str], ranges: Mapping[str, tuple[str, ...]]
) -> LogicalVolume:
    return LogicalVolume(
        name=row["lv_name"],
        uuid=row["lv_uuid"],
        size=int(row["lv_size"]),
        tags=_split(row["lv_tags"]),
        layout=_split(row["lv_layout"]),
        pool=row["pool_lv"],
        health=row["lv_health_status"],
        queues_when_full=row["lv_when_full"] == "queue",
        chunk_size=int(segment.get("chunk_size", 0)),
        zeroes=segment.get("zero") == "zero",
        discards=segment.get("discards", ""),
        areas=int(segment.get("stripes", 1)),
        ranges=ranges.get(row["lv_uuid"], ()),
    )


def _ranges(segments: Iterable[Mapping[str, str]], key: str) -> Mapping[str, tuple[str, ...]]:
    """Join the ranges of extents of all segments that have the same `key`."""
    ranges: dict[str, tuple[str, ...]] = {}
    for segment in segments:
        name = segment[key]
        ranges[name] = ranges.get(name, ()) + tuple(segment["seg_pe_ranges"].split())
    return ranges


def _free_extents(row: Mapping[str, Any]) -> int:
    return int(row["pv_pe_count"]) - int(row["pv_pe_alloc_count"])


def _trouble(row: Mapping[str, str], disks: Iterable[Mapping[str, str]]) -> str | None:
    """Return why nothing should be done with the group; None if it is usable."""
    name = row["vg_name"]
    if row["vg_exported"]:
        return f"volume group {name} is exported: run `vgimport {name}` if it is to be used here"
    if row["vg_partial"] or any(disk["pv_missing"] for disk in disks):
        return f"volume group {name} is not whole, a disk of it is missing: see `pvs`"
    if row["vg_shared"]:
        return f"volume group {name} is shared by several machines, which is not supported"
    return None


def _split(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))
