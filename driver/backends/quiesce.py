"""Quiesces attached volumes for a snapshot: flushes their devices and freezes their filesystems.

syncfs(2) is called before the freeze, to keep the freeze short. A durable mark records that a
filesystem may be left frozen, in case both this process and its freezer child die: at the next
start, marked filesystems are thawed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from loguru import logger

from driver.core.devices import Device
from driver.core.errors import Busy
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import VolumeId
from driver.linux import files
from driver.linux.devices import block, stacked
from driver.linux.mounts import freeze, mount_points
from driver.linux.mounts.freeze import Freezer

Mark = Callable[[Sequence[VolumeId]], AbstractContextManager[None]]


@contextmanager
def quiesced(
    freezer: Freezer, devices: Mapping[VolumeId, Device], mark: Mark, bound: float
) -> Iterator[None]:
    """Flush devices and freeze the filesystems on them for the duration of the `with` block.

    `devices`: the devices of the attached volumes. `mark(volumes)`: a context manager that
    durably marks `volumes`, so that their filesystems are thawed after a crash. `bound`:
    seconds that the block may take.

    Raises: Busy, on exit, if the block took longer; Refused, if a device cannot be flushed or a
    filesystem cannot be frozen; OSError; what `mark` raises.
    """
    targets = flush(devices)
    with ExitStack() as undo:
        if targets:
            undo.enter_context(mark(tuple(targets)))
        reach(FailPoint.QUIESCE_MARKED)
        with time_limit(bound), _frozen(freezer, tuple(targets.values()), bound):
            reach(FailPoint.QUIESCE_FROZEN)
            yield
        reach(FailPoint.QUIESCE_THAWED)


def flush(devices: Mapping[VolumeId, Device]) -> dict[VolumeId, Path]:
    """Flush the filesystems on attached volumes, and then their devices, to the images.

    Returns the mount point of each filesystem; raw block volumes are left out. Raises: Refused, if
    something cannot be written; OSError.
    """
    targets = _targets(devices)
    for target in targets.values():
        freeze.sync(target)
    for device in devices.values():
        _flush(device)
    return targets


@contextmanager
def time_limit(bound: float, clock: Callable[[], float] = monotonic) -> Iterator[None]:
    """Raise Busy at the end of the `with` block if the block took longer than `bound` seconds.

    What was read in the block may then be from different moments. `clock`: returns monotonic
    seconds.
    """
    start = clock()
    yield
    if (passed := clock() - start) > bound:
        raise Busy(
            f"writers were stopped for {passed:.1f} s, which is longer than the {bound:g} s that"
            " are allowed; try again"
        )


@contextmanager
def mark_files(marks: Sequence[Path]) -> Iterator[None]:
    """Create a durable empty file at each path in `marks`, and remove them at the end of the `with`
    block.

    Raises: OSError.
    """
    with ExitStack() as undo:
        for path in marks:
            undo.callback(path.unlink, missing_ok=True)
            path.touch(mode=0o600)
            files.sync_directory(path.parent)
        yield


def thaw(number: int) -> None:
    """Thaw the filesystem on the device `number` (dev_t). No-op if it is not mounted or not frozen.

    Raises: OSError.
    """
    if target := _mounted_at(number):
        logger.warning("thawing {}, left frozen by a snapshot that did not end", target)
        freeze.thaw(target)


def _targets(devices: Mapping[VolumeId, Device]) -> dict[VolumeId, Path]:
    """Return where the filesystems of the volumes are mounted; raw block volumes have none."""
    mounted = {volume: _mounted_at(device.number) for volume, device in devices.items()}
    return {volume: target for volume, target in mounted.items() if target}


def _mounted_at(number: int) -> Path | None:
    """Return where this mount namespace has the filesystem of a device mounted, or None.

    `number`: dev_t of the device. The filesystem may lie on a device above it, as that of an
    encrypted volume does.
    """
    for candidate in (number, *_devices_above(number)):
        for mount in mount_points.list_filesystem_mounts(candidate):
            return mount.target
    return None


def _flush(device: Device) -> None:
    """Write the dirty pages of a device, and of the LUKS container on it, to the image.

    Those of a raw block volume lie in the page cache of the uppermost device.
    """
    for number in _devices_above(device.number):
        if mount_points.label(number):
            block.flush_for_copy(stacked.mapper_node(number))
    block.flush_for_copy(device.path)


def _devices_above(number: int) -> Iterator[int]:
    """Yield dev_t of all devices that lie on the device `number`, the lowest first."""
    for upper in stacked.devices_above(number):
        yield upper
        yield from _devices_above(upper)


@contextmanager
def _frozen(freezer: Freezer, targets: Sequence[Path], bound: float) -> Iterator[None]:
    """Freeze the filesystems at `targets`; no-op if there are none, as with raw block volumes."""
    if not targets:
        yield
        return
    with freezer.frozen(targets, bound):
        yield
