"""Decides, without reading it, whether a disk may become a pool, or else why not.

Pure functions, so that tests need no disks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from driver.core.model import MIB
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.usage import Usage

SMALLEST: Final = 64 * MIB
_KINDS: Final = {
    Kind.ZRAM: "it is compressed memory (zram)",
    Kind.RAM: "it is memory (a RAM disk)",
    Kind.OPTICAL: "it is an optical drive",
    Kind.FLOPPY: "it is a floppy drive",
}
_VIRTUAL: Final = {
    Kind.LOOP: "it is a loop device, which is used only if it is named",
    Kind.VIRTUAL: "it has no disk of this machine below it, so it is used only if it is named",
}
_REMOTE: Final = frozenset({"iscsi", "fc", "rbd"})


@dataclass(frozen=True, slots=True)
class Consent:
    """What the administrator allowed for a disk. `named`: the administrator named the disk by its
    path; `removable`: a removable disk is allowed.
    """

    named: bool = False
    removable: bool = False


def refusal(device: BlockDevice, usage: Usage, consent: Consent = Consent()) -> str:
    """Return the first known reason why the device cannot become a pool; "": there is no known
    reason. `usage`: who uses the devices of this machine; `consent`: what the administrator
    allowed.
    """
    return next(_refusals(device, usage, consent), "")


def _refusals(device: BlockDevice, usage: Usage, consent: Consent) -> Iterator[str]:
    """Yield each reason as a sentence without its full stop."""
    yield from _by_kind(device)
    yield from _by_use(device, usage)
    if device.read_only:
        yield "it is read-only"
    if not consent.named and (reason := _VIRTUAL.get(device.kind)):
        yield reason
    if not consent.named and device.transport in _REMOTE:
        yield f"it is a disk over a network ({device.transport}), which is used only if it is named"
    if device.removable and not consent.removable:
        yield "it is removable, which has to be accepted by --removable"
    if device.zoned:
        yield "it is zoned: it takes writes only in order"
    if device.size < SMALLEST:
        yield "it is smaller than 64 MiB"


def _by_kind(device: BlockDevice) -> Iterator[str]:
    if reason := _KINDS.get(device.kind):
        yield reason
    if device.kind is Kind.PARTITION:
        yield f"it is a partition of {device.parent}: only whole disks become pools"
    if device.kind is Kind.MAPPED:
        yield f"it is the device {device.mapped_name} of device-mapper, not a disk"
    if device.hidden:
        yield "it is one path of an NVMe disk that has several: use the disk itself"
    if not device.size:
        yield "it has no medium"


def _by_use(device: BlockDevice, usage: Usage) -> Iterator[str]:
    if mounts := usage.mounts.get(device.number):
        yield f"it is mounted at {mounts[0].target}"
    if device.number in usage.swaps:
        yield "it is swap"
    if device.multipath_member:
        yield f"it is one path of a multipath disk: use {_above(device)}"
    if device.holders:
        yield f"{_above(device)} is made of it"
    if device.partitions:
        yield f"it has partitions: {', '.join(device.partitions)}"
    if name := usage.loops.get(device.number):
        yield f"{name} is bound to it"
    if usage.paths.get(device.world_wide_id, 0) > 1:
        yield "another device shows the same disk: set up multipath, and use that device"


def _above(device: BlockDevice) -> str:
    return ", ".join(device.holders) or "that"
