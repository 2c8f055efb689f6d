"""Lists the block devices of this machine by pyudev and /sys. No device is opened, so the list
never hangs.

Properties of udev's database (/run/udev) are used if it exists; a container may have none.
Documentation/ABI/stable/sysfs-block.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from driver.core.errors import NotFound
from driver.linux.disks.block_device import BlockDevice, Kind

_BLOCKS: Final = Path("/sys/class/block")
_BY_ID: Final = Path("/dev/disk/by-id")
_SECTOR: Final = 512  # of `size`, whatever the device's own blocks are
_KINDS: Final = (
    (re.compile(r"loop\d+"), Kind.LOOP),
    (re.compile(r"zram\d+"), Kind.ZRAM),
    (re.compile(r"ram\d+"), Kind.RAM),
    (re.compile(r"sr\d+"), Kind.OPTICAL),
    (re.compile(r"fd\d+"), Kind.FLOPPY),
    (re.compile(r"md.*"), Kind.MD),
)
_REAL_BELOW: Final = re.compile(r"/nvme-subsystem/")
_TRANSPORTS: Final = (
    (re.compile(r"/usb\d+/"), "usb"),
    (re.compile(r"/session\d+/"), "iscsi"),
    (re.compile(r"/rport-[^/]+/"), "fc"),
    (re.compile(r"/devices/rbd/"), "rbd"),
    (re.compile(r"/ata\d+/"), "sata"),
    (re.compile(r"/end_device-[^/]+/"), "sas"),
    (re.compile(r"/mmc_host/"), "mmc"),
    (re.compile(r"/virtio\d+/"), "virtio"),
    (re.compile(r"/nvme"), "nvme"),
)


def list_devices() -> tuple[BlockDevice, ...]:
    """Return all block devices of this machine, by name. Raises: ImportError, without libudev."""
    import pyudev  # noqa: PLC0415 - slow, and only commands and rare work need it

    links = _links()
    devices = pyudev.Context().list_devices(subsystem="block")
    block_devices = (_read(device.sys_name, _properties(device), links) for device in devices)
    return tuple(sorted((device for device in block_devices if device), key=_order))


def read_device(path: Path) -> BlockDevice:
    """Return the block device to which `path` leads.

    Raises: NotFound, if it leads to none; ImportError, without libudev.
    """
    import pyudev  # noqa: PLC0415 - see above

    try:
        number = os.stat(path).st_rdev
        device = pyudev.Devices.from_device_number(pyudev.Context(), "block", number)
    except (OSError, pyudev.DeviceNotFoundError):
        raise NotFound(f"{path} is no block device of this machine") from None
    if block_device := _read(device.sys_name, _properties(device), _links()):
        return block_device
    raise NotFound(f"{path} is no block device any more")


def _order(device: BlockDevice) -> tuple[str, int, str]:
    """Return what devices are sorted by: sda, sda1, sda10; loop2 before loop10."""
    letters = device.name.rstrip("0123456789")
    return letters, int(device.name[len(letters) :] or 0), device.name


def _properties(device: Any) -> Mapping[str, str]:
    """Return udev's properties; only the kernel's own, where there is no database."""
    return {name: str(value) for name, value in device.properties.items()}


def _links() -> Mapping[str, tuple[Path, ...]]:
    """Return the links in /dev/disk/by-id, by the kernel name of their devices, best first."""
    links: dict[str, list[Path]] = {}
    for name in sorted(_listed(_BY_ID), key=_rank):
        links.setdefault(os.path.basename(os.path.realpath(_BY_ID / name)), []).append(
            _BY_ID / name
        )
    return {name: tuple(paths) for name, paths in links.items()}


def _rank(link: str) -> tuple[bool, int, str]:
    """Return what links are sorted by: those that have the model in their name come first."""
    return link.startswith(("wwn-", "nvme-eui.", "nvme-nvme.", "dm-uuid-")), len(link), link


def _read(
    name: str, properties: Mapping[str, str], links: Mapping[str, tuple[Path, ...]]
) -> BlockDevice | None:
    """Return the device; None: it has gone since it was listed."""
    folder = _BLOCKS / name
    if not (number := _text(folder / "dev")):
        return None
    real = os.path.realpath(folder)
    is_partition = (folder / "partition").exists()
    whole = Path(real).parent if is_partition else folder
    return BlockDevice(
        name=name,
        number=os.makedev(*map(int, number.split(":"))),
        kind=Kind.PARTITION if is_partition else _kind(name, folder, real),
        size=_number(folder / "size") * _SECTOR,
        model=_model(whole, properties),
        serial=_serial(whole, properties),
        world_wide_id=_text(whole / "device/wwid") or _text(whole / "wwid"),
        rotational=_flag(whole / "queue/rotational"),
        transport=_transport(real, properties),
        links=links.get(name, ()),
        read_only=_flag(folder / "ro"),
        removable=_flag(whole / "removable"),
        hidden=_flag(whole / "hidden"),
        zoned=_text(whole / "queue/zoned") in {"host-managed", "host-aware"},
        logical_block_size=_number(whole / "queue/logical_block_size") or _SECTOR,
        physical_block_size=_number(whole / "queue/physical_block_size") or _SECTOR,
        sequence=_text(whole / "diskseq"),
        partitions=tuple(_partitions(folder)),
        holders=tuple(sorted(_listed(folder / "holders"))),
        parent=whole.name if is_partition else "",
        mapped_name=_text(folder / "dm/name"),
        mapped_uuid=_text(folder / "dm/uuid"),
        backing_file=_text(folder / "loop/backing_file"),
        multipath_member=properties.get("DM_MULTIPATH_DEVICE_PATH") == "1",
    )


def _kind(name: str, folder: Path, real: str) -> Kind:
    """Return what a device is that is no partition."""
    if (folder / "dm").is_dir():
        is_multipath = _text(folder / "dm/uuid").startswith("mpath-")
        return Kind.MULTIPATH if is_multipath else Kind.MAPPED
    for form, kind in _KINDS:
        if form.fullmatch(name):
            return kind
    if "/devices/virtual/" in real and not _REAL_BELOW.search(real):
        return Kind.VIRTUAL
    return Kind.DISK


def _model(whole: Path, properties: Mapping[str, str]) -> str:
    return (
        _text(whole / "device/model") or properties.get("ID_MODEL", "") or _text(whole / "dm/name")
    )


def _serial(whole: Path, properties: Mapping[str, str]) -> str:
    for text in (
        _text(whole / "device/serial"),
        _text(whole / "serial"),
        properties.get("ID_SERIAL_SHORT", ""),
        properties.get("ID_SERIAL", ""),
    ):
        if text:
            return text
    return ""


def _transport(real: str, properties: Mapping[str, str]) -> str:
    """Return how the device is connected, by its path in /sys, else as udev says."""
    for form, name in _TRANSPORTS:
        if form.search(real):
            return name
    return properties.get("ID_BUS", "")


def _partitions(folder: Path) -> Iterator[str]:
    """Yield the kernel names of a disk's partitions."""
    for name in sorted(_listed(folder)):
        if (folder / name / "partition").exists():
            yield name


def _flag(path: Path) -> bool:
    return _text(path) == "1"


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    """Return the text of an attribute without what cannot be printed; "" if there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
