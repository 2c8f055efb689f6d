"""Mount points: which device is mounted where, and with which options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.core.devices import MountPoint
from driver.core.ids import IMAGE_FILE
from driver.linux.devices import block, dm, loop_ioctl
from driver.linux.mounts.table import mount_table
from driver.linux.mounts.table.mount_entry import Mount, device_number, node_number

LOOP_MAJOR: Final = 7  # <linux/major.h>
CRYPT: Final = "CRYPT-LUKS2-"  # begins the uuid of each mapping that cryptsetup makes of LUKS2
_READ_ONLY: Final = frozenset({"ro", "emergency_ro"})  # ext4 says emergency_ro since Linux 6.14


def mounted_at(target: Path) -> MountPoint | None:
    """Return the topmost mount exactly at `target`; None: nothing is mounted there.

    Raises: OSError.
    """
    mount = mount_table.topmost_at(target)
    return mount_point(mount) if mount else None


def list_mount_points(number: int) -> tuple[MountPoint, ...]:
    """Return all mount points of the device `number` (dev_t) in this mount namespace.

    They include the paths to which its device node is bound. Raises: OSError.
    """
    return tuple(map(mount_point, mount_table.table().device_mounts(number)))


def exposed_nodes() -> frozenset[int]:
    """Return the numbers (dev_t) of all block devices whose nodes are bound somewhere outside of
    /dev, as for pods.

    Nodes bound in /dev do not count: they belong to a container's own program. Raises: OSError.
    """
    nodes = mount_table.table().node_mounts()
    return frozenset(number for number, mount in nodes if Path("/dev") not in mount.target.parents)


def bound_nodes() -> frozenset[int]:
    """Return the numbers (dev_t) of all block devices whose nodes are bound somewhere, including
    /dev.

    Such a device may not exist any more, or be a loop device that is bound to another file now.
    Raises: OSError.
    """
    return mount_table.table().node_numbers()


def list_filesystem_mounts(number: int) -> tuple[Mount, ...]:
    """Return the mounts of the filesystem on the device `number` (dev_t). Raises: OSError."""
    mounts = mount_table.table().device_mounts(number)
    return tuple(mount for mount in mounts if device_number(mount) == number)


def filesystems() -> Mapping[int, Sequence[Mount]]:
    """Return the mounts of the filesystems of all block devices, by device number (dev_t), read
    once. Raises: OSError.
    """
    mounts = dict[int, list[Mount]]()
    for mount in mount_table.mounts():
        if number := device_number(mount):
            mounts.setdefault(number, []).append(mount)
    return mounts


def list_filesystems_once() -> Callable[[int], Sequence[Mount]]:
    """List all mounts once, and return a function that, given the number (dev_t) of a device,
    returns the mounts of the filesystem on it from this list. Raises: OSError.
    """
    device_mounts = mount_table.table().list_once()
    return lambda number: [each for each in device_mounts(number) if device_number(each) == number]


def mount_point(mount: Mount) -> MountPoint:
    """Convert an entry of the mount table to a MountPoint, which says which block device is
    mounted, whether as a filesystem or as a device node, and with which options.
    """
    node = node_number(mount)
    number = node or device_number(mount)
    options = mount.options | mount.super_options
    return MountPoint(
        target=mount.target,
        number=number,
        node=bool(node),
        root=mount.root,
        read_only=bool(options & _READ_ONLY) or bool(node and _is_read_only(node)),
        options=options,
        turned="rw" in mount.options and bool(_READ_ONLY & mount.super_options),
        fs_type=mount.fs_type,
        source=mount.source,
    )


def label(number: int) -> str:
    """Return the id of the image to which the device `number` (dev_t) belongs; "": it belongs to no
    image.

    The id is found by the path of the backing file, by the name of this driver's device-mapper
    device, or by the LUKS2 container. lo_file_name is not used, because a pod with the node of a
    loop device can change it (LOOP_SET_STATUS64).
    """
    if os.major(number) != LOOP_MAJOR:
        return dm.layer_volume_id(number) or _name_of_mapping(number)
    return image_id(loop_ioctl.backing_file(device_path(number).name))


def image_id(backing_file: str) -> str:
    """Return the id of the image whose loop file has the path `backing_file`; "": the path is not
    that of an image in a pool.
    """
    *_, folder, name = ("", "", *backing_file.removesuffix(" (deleted)").split("/"))
    return folder if name == IMAGE_FILE else ""


def device_path(number: int) -> Path:
    """Return the device node of a block device with the kernel's name, such as /dev/loop5 or
    /dev/dm-3.

    If the device does not exist, the path is one that no device has.
    """
    path = block.sysfs(number)
    with suppress(FileNotFoundError):
        path = os.readlink(path)
    return Path("/dev", path.rpartition("/")[2])


def _name_of_mapping(number: int) -> str:
    """Return the name of an open LUKS2 container; "" if it is another device."""
    folder = Path(block.sysfs(number), "dm")
    try:
        if not Path(folder, "uuid").read_text(encoding="utf-8").startswith(CRYPT):
            return ""
        return Path(folder, "name").read_text(encoding="utf-8").strip()
    except OSError:  # another kind of device
        return ""


def _is_read_only(number: int) -> bool:
    """Return whether the device is read-only; False if it is gone, and only its node is left."""
    try:
        return block.is_read_only(device_path(number))
    except OSError:  # the node is bound here, the device is gone
        return False
