"""Examines the disks of this machine: what is on them, and which may become a pool.

Nothing is written. Of an unused disk, only the places where formats have signatures and backups are
read, by libblkid and by this program; the whole disk is read only before it becomes a pool.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from typing import Final

from driver.core.errors import CellarError
from driver.disks.judgement import Consent, refusal
from driver.linux.devices import block
from driver.linux.disks import blank_scan, block_devices, libblkid, usage
from driver.linux.disks.block_device import BlockDevice, Kind
from driver.linux.disks.usage import Usage
from driver.linux.mounts import holders

_TIMEOUT: Final = 30.0  # seconds for all disks together; one that hangs is not waited for
_UNREAD: Final = frozenset({Kind.OPTICAL, Kind.FLOPPY, Kind.RAM})


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of examining a block device. `content`: what is on it, in a few words; `refusal`:
    why it cannot become a pool; "": it may become one.
    """

    device: BlockDevice
    content: str
    refusal: str

    @property
    def may_become_pool(self) -> bool:
        """Return whether nothing found so far forbids that the device becomes a pool. Only parts of
        the device were read.
        """
        return not self.refusal


def examine_all() -> tuple[Examination, ...]:
    """Examine all devices of this machine, without loop devices that are not bound.

    Raises: OSError; ImportError, without libudev.
    """
    devices = [
        device
        for device in block_devices.list_devices()
        if device.kind is not Kind.LOOP or device.backing_file
    ]
    now = usage.read_usage(devices)
    futures = [_begin(device, now) for device in devices]
    deadline = time.monotonic() + _TIMEOUT
    return tuple(
        _result(device, future, deadline) for device, future in zip(devices, futures, strict=True)
    )


def examine(device: BlockDevice, now: Usage, consent: Consent) -> Examination:
    """Find out what is on a device, and whether it may become a pool. The device is opened only if
    nothing known about it forbids its use. `now`: who uses the devices; `consent`: what the
    administrator allowed.

    Errors of the device are reported in the result, not raised.
    """
    why = refusal(device, now, consent)
    content = _content(device, now)
    try:
        why = why or _refusal_by_reading(device)
    except CellarError as error:
        why = str(error)
    except OSError as error:
        why = f"it cannot be opened or read: {error.strerror}"
    return Examination(device, content or ("nothing that is known" if why else "zeros"), why)


def _refusal_by_reading(device: BlockDevice) -> str:
    """Return why a device cannot become a pool, by what can be read and who has it open.

    "": no reason was found. Raises: CellarError, OSError: it cannot be read.
    """
    if reason := usage.tenant_reason(device):
        return f"it {reason}"
    if block.is_held(device.path):
        return f"it is in use, by {holders.name_holders(device.path, device.number)}"
    if users := usage.processes(device):
        return f"it is open: {', '.join(users)}"
    return content_refusal(device)


def content_refusal(device: BlockDevice) -> str:
    """Return a sentence about data of the device in the places where formats have signatures; "":
    there are only zeros.

    Raises: Failed, Refused, OSError: the device cannot be read.
    """
    if name := libblkid.probe(device.path):
        return f"it has {name}"
    with blank_scan.opened(device.path) as fd:
        name = blank_scan.find_signature(fd, device.size)
    return f"it has {name}" if name else ""


def _content(device: BlockDevice, now: Usage) -> str:
    """Return what lies on a device, and where it is mounted, in a few words; "": not known."""
    names = []
    if device.backing_file:
        names.append(f"the file {device.backing_file}")
    if mounts := now.mounts.get(device.number, ()):
        names += [mounts[0].fs_type, f"mounted at {mounts[0].target}"]
    elif device.size and not device.hidden and device.kind not in _UNREAD:
        try:
            names.append(libblkid.probe(device.path))
        except (CellarError, OSError):
            names.append("it cannot be read")
    if device.partitions:
        names.append(f"partitions {', '.join(device.partitions)}")
    if device.number in now.swaps:
        names.append("in use as swap")
    return ", ".join(filter(None, names))


def _begin(device: BlockDevice, now: Usage) -> Future[Examination]:
    """Examine a device in a thread that does not keep the process from ending."""
    future: Future[Examination] = Future()

    def work() -> None:
        try:
            future.set_result(examine(device, now, Consent()))
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            future.set_exception(error)

    threading.Thread(target=work, name=f"examine-{device.name}", daemon=True).start()
    return future


def _result(device: BlockDevice, future: Future[Examination], deadline: float) -> Examination:
    """Return the result; that the device does not answer, if it is not there in time."""
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except NotInTime:
        return Examination(device, "it does not answer", "it does not answer")
