"""Device-mapper: this driver's own device over a logical volume, and the status of thin pools.

The own device, called a layer, is a linear mapping with a name and a uuid that this driver gives
it. It has the same purpose as a loop device over a file: it exists while the volume is attached,
its uuid contains the volume's id, and its filesystem can be frozen while LVM suspends the logical
volume below. (If LVM's own device had been suspended or frozen before, `lvcreate --snapshot` would
fail, and leave the thin pool with a wrong transaction id.)
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.model import Bytes
from driver.linux import command
from driver.linux.devices import block, dm_ioctl

TIMEOUT: Final = 60.0  # seconds
_SECTOR: Final = 512
_METADATA_BLOCK: Final = 4096  # of a thin pool, always
_BLOCKS: Final = Path("/sys/class/block")
_NODES: Final = dm_ioctl.NODES
LAYER: Final = "CELLAR-"  # begins the uuid of each layer; the id of its volume follows
READER: Final = "-ro"  # ends it if the layer cannot be written to, whatever BLKROSET says


@dataclass(frozen=True, slots=True)
class Mapped:
    """A device-mapper device. `number`: dev_t; `suspended`: whether it is suspended, so that writes
    to it hang until it is resumed.
    """

    name: str
    uuid: str
    path: Path
    number: int  # dev_t
    suspended: bool


@dataclass(frozen=True, slots=True)
class ThinPool:
    """The state of a thin pool according to `dmsetup status`; the sizes are in blocks of the pool.
    `trouble`: why the kernel accepts no new data, "" if it does.
    """

    metadata_used: int
    metadata_total: int
    data_used: int
    data_total: int
    trouble: str  # read-only, out of space, failed, needs a check; "" when it works

    @property
    def metadata_bytes(self) -> Bytes:
        """Return the size of the thin pool's metadata device in bytes."""
        return self.metadata_total * _METADATA_BLOCK

    @property
    def data_share(self) -> float:
        """Return the used share of the thin pool's data device, 0 to 1."""
        return self.data_used / self.data_total

    @property
    def metadata_share(self) -> float:
        """Return the used share of the thin pool's metadata device, 0 to 1."""
        return self.metadata_used / self.metadata_total


def find(name: str) -> Mapped | None:
    """Return the device-mapper device with this name; None: there is none.

    The kernel is asked: a device node of that name may be stale, or belong to another program.
    """
    with suppress(OSError):
        status = os.stat(_NODES / name)
        if stat.S_ISBLK(status.st_mode):
            mapped = _read(Path(block.sysfs(status.st_rdev)), _NODES / name)
            if mapped and mapped.name == name:
                return mapped
    for directory in _BLOCKS.glob("dm-*"):
        mapped = _read(directory, Path("/dev", directory.name))
        if mapped and mapped.name == name:
            return mapped
    return None


def create_layer(name: str, uuid: str, path: Path, *, read_only: bool) -> Mapped:
    """Create a device called `name` that maps all of `path`.

    Raises: OSError, such as EBUSY if the name or the uuid is used; nothing is left then.
    """
    flags = dm_ioctl.READ_ONLY if read_only else 0
    with ExitStack() as undo:
        number = dm_ioctl.create(name, uuid)
        undo.callback(dm_ioctl.remove, name)
        dm_ioctl.load(name, block.size(path), "linear", _linear_target(path), flags=flags)
        dm_ioctl.resume(name)
        dm_ioctl.make_node(name, number)
        undo.pop_all()
    return Mapped(name, uuid, _NODES / name, number, suspended=False)


def extend_layer(name: str, path: Path, *, read_only: bool) -> None:
    """Grow the device-mapper device `name`, which maps all of `path`, to the size of `path`.
    Raises: OSError.
    """
    flags = dm_ioctl.READ_ONLY if read_only else 0
    dm_ioctl.load(name, block.size(path), "linear", _linear_target(path), flags=flags)
    dm_ioctl.resume(name)


def remove(name: str) -> bool:
    """Remove a device-mapper device and its node. Returns False if it is in use. No-op if it does
    not exist.

    Raises: OSError.
    """
    try:
        dm_ioctl.remove(name)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        if error.errno != errno.ENXIO:  # gone already
            raise
    (_NODES / name).unlink(missing_ok=True)
    return True


def suspended() -> tuple[Mapped, ...]:
    """Return all suspended device-mapper devices; writes to them hang until they are resumed."""
    devices = (_read(directory, Path("/dev", directory.name)) for directory in _BLOCKS.glob("dm-*"))
    return tuple(device for device in devices if device and device.suspended)


def resume(name: str) -> None:
    """Resume a suspended device; if a new table was loaded, the table becomes active. Raises:
    OSError.
    """
    dm_ioctl.resume(name)


def thin_pool(name: str) -> ThinPool:
    """Return the state of the thin pool device `name`. Raises: CommandError."""
    return parse_thin_pool(command.run(["dmsetup", "status", name], timeout=TIMEOUT))


def is_snapshot_invalid(name: str) -> bool:
    """Return whether the classic (not thin) LVM snapshot `name` overflowed; its status is then
    Invalid or Overflow.

    Raises: CommandError.
    """
    words = command.run(["dmsetup", "status", name], timeout=TIMEOUT).split()
    return words[3:4] in (["Invalid"], ["Overflow"])


def mapped_bytes(name: str) -> Bytes:
    """Return how many bytes are mapped in the thin volume with the device name `name`.

    Raises: CommandError.
    """
    return parse_mapped_bytes(command.run(["dmsetup", "status", name], timeout=TIMEOUT))


def parse_thin_pool(text: str) -> ThinPool:
    """Return the state of a thin pool, parsed from its line of `dmsetup status`: `0 1048576
    thin-pool 3 215/2048 78/8192 - rw ...`, or `... Fail`. No system call is made.
    """
    words = text.split()
    if words[3:4] == ["Fail"]:
        return ThinPool(1, 1, 1, 1, "it has failed")
    metadata, data = ([int(number) for number in word.split("/")] for word in words[4:6])
    trouble = {"ro": "it is read-only", "out_of_data_space": "it is full"}.get(words[7], "")
    if "needs_check" in words:
        trouble = "its metadata must be repaired: `lvconvert --repair`"
    return ThinPool(metadata[0], metadata[1], data[0], data[1], trouble)


def parse_mapped_bytes(text: str) -> Bytes:
    """Return the mapped bytes in the status of a thin volume, `0 204800 thin 9984 204799`; of a
    failed volume its whole size. No system call is made.
    """
    words = text.split()
    sectors = words[1] if words[3] == "Fail" else words[3]
    return int(sectors) * _SECTOR


def layer_volume_id(number: int) -> str:
    """Return the id of the volume for which this driver created the device-mapper device with the
    number (dev_t) `number` over its logical volume; "": it is another device.
    """
    try:
        uuid = Path(block.sysfs(number), "dm/uuid").read_text(encoding="utf-8").strip()
    except OSError:  # another kind of device
        return ""
    return uuid.removeprefix(LAYER).removesuffix(READER) if uuid.startswith(LAYER) else ""


def find_layer(volume_id: str) -> Mapped | None:
    """Return the device-mapper device that this driver created over the logical volume of the
    volume `volume_id`; None: the volume is not attached.
    """
    devices = (_read(directory, Path("/dev", directory.name)) for directory in _BLOCKS.glob("dm-*"))
    uuids = {LAYER + volume_id, LAYER + volume_id + READER}
    return next((device for device in devices if device and device.uuid in uuids), None)


def lv_uuid_prefix(group: str, volume: str) -> str:
    """Return the prefix of the device-mapper uuids of a logical volume's devices.

    `group`, `volume`: LVM's UUIDs of the group and the logical volume, with dashes.
    """
    return f"LVM-{group.replace('-', '')}{volume.replace('-', '')}"


def lv_node(group: str, volume: str) -> Path:
    """Return the path of the device node of the active logical volume `volume` in the volume group
    `group`.
    """
    return _NODES / lv_device_name(group, volume)


def lv_device_name(group: str, volume: str) -> str:
    """Return the device-mapper name of the logical volume `volume` in `group`, in which LVM doubles
    dashes.
    """
    return f"{group.replace('-', '--')}-{volume.replace('-', '--')}"


def _linear_target(path: Path) -> str:
    """Return the parameters of a linear target from the start of `path` on."""
    number = os.stat(path).st_rdev
    return f"{os.major(number)}:{os.minor(number)} 0"


def _read(directory: Path, node: Path) -> Mapped | None:
    """Return the device of a directory in /sys; None: it is gone, or of another kind."""
    try:
        attributes = (directory / "dm" / name for name in ("name", "uuid", "suspended"))
        name, uuid, suspended = (attribute.read_text().strip() for attribute in attributes)
        major, minor = (directory / "dev").read_text().strip().split(":")
    except OSError:
        return None
    return Mapped(name, uuid, node, os.makedev(int(major), int(minor)), suspended == "1")
