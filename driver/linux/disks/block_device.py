"""A block device as /sys and udev describe it; the device itself is not opened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from driver.core.model import Bytes


class Kind(StrEnum):
    """The kind of a block device, according to its driver."""

    DISK = "disk"
    PARTITION = "partition"
    MULTIPATH = "multipath"
    MD = "md"  # software RAID
    MAPPED = "mapped"  # any other device of device-mapper
    LOOP = "loop"
    ZRAM = "zram"
    RAM = "ram"
    OPTICAL = "optical"
    FLOPPY = "floppy"
    VIRTUAL = "virtual"  # nbd, zvol and the like


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDevice:
    """The properties of a block device of this machine, at the moment when they were read.
    `number`: dev_t; `transport`: its bus, e.g. "nvme"; `links`: the names that udev gave it.
    """

    name: str  # the kernel's, as in sda
    number: int  # dev_t
    kind: Kind
    size: Bytes
    model: str = ""
    serial: str = ""
    world_wide_id: str = ""  # of the medium: two paths to one disk have the same
    rotational: bool = False
    transport: str = ""  # nvme, sata, sas, usb, virtio, iscsi, ...; "": not known
    links: tuple[Path, ...] = ()  # in /dev/disk/by-id
    read_only: bool = False
    removable: bool = False
    hidden: bool = False  # a path below a multipath NVMe disk; it cannot be opened
    zoned: bool = False  # takes writes in order only
    logical_block_size: Bytes = 512
    physical_block_size: Bytes = 512
    sequence: str = ""  # another one when another device takes this name; Linux 5.15
    partitions: tuple[str, ...] = ()  # kernel names
    holders: tuple[str, ...] = ()  # kernel names of devices made of it
    parent: str = ""  # of a partition: the kernel name of its disk
    mapped_name: str = ""  # of device-mapper
    mapped_uuid: str = ""
    backing_file: str = ""  # of a loop device
    multipath_member: bool = False

    @property
    def path(self) -> Path:
        """Return the device node with the kernel's name."""
        return Path("/dev", self.name.replace("!", "/"))

    @property
    def best_path(self) -> Path:
        """Return a path of the device that leads to the same disk after a reboot; if there is none,
        the device node.
        """
        return self.links[0] if self.links else self.path
