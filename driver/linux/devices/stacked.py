"""Which block devices lie on others, for example an open LUKS container on a loop device."""

from __future__ import annotations

import os
from pathlib import Path

from driver.linux.devices import block, loop_ioctl
from driver.linux.mounts.mount_points import device_path


def devices_above(number: int) -> tuple[int, ...]:
    """Return the numbers (dev_t) of the devices directly above the block device `number` (dev_t),
    such as an open LUKS container.
    """
    return _neighbours(number, "holders")


def mapper_node(number: int) -> Path:
    """Return the device node of an open LUKS container with the number (dev_t) `number`.

    cryptsetup creates that node in /dev/mapper. If this process runs in a container whose /dev
    lacks the node, the path with the kernel's own name is returned. Raises: OSError, if the device
    does not exist.
    """
    name_file = Path(block.sysfs(number), "dm/name")
    node = Path("/dev/mapper", name_file.read_text().strip())
    return node if node.exists() else device_path(number)


def devices_below(number: int) -> tuple[int, ...]:
    """Return the numbers (dev_t) of the devices directly below the block device `number`
    (dev_t).
    """
    return _neighbours(number, "slaves")


def _neighbours(number: int, kind: str) -> tuple[int, ...]:
    """Return dev_t of the devices above ("holders") or below ("slaves") a device."""
    directory = Path(block.sysfs(number), kind)
    numbers = []
    with loop_ioctl.ignore_gone():
        for name in os.listdir(directory):
            major, _, minor = (directory / name / "dev").read_text().strip().partition(":")
            numbers.append(os.makedev(int(major), int(minor)))
    return tuple(numbers)
