"""Creates a pool on blank disks, which are held open from the last check until they are
written to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from driver.backends.loopfile.pool import marker
from driver.core.errors import CellarError, Failed, Refused
from driver.core.model import Bytes
from driver.disks import lvm_pool
from driver.disks.examination import content_refusal
from driver.disks.judgement import Consent, refusal
from driver.disks.plan import PoolPlan, settings
from driver.disks.pool_kind import PoolKind
from driver.linux.disks import blank_scan, block_devices, cover, pool_filesystem, usage
from driver.linux.disks.block_device import BlockDevice
from driver.linux.disks.held_disk import HeldDisk, hold
from driver.linux.formats import filesystem

OnProgress = Callable[[BlockDevice, Bytes], None]


def create(plan: PoolPlan, on_progress: OnProgress) -> dict[str, str]:
    """Create a pool on blank disks as `plan` says, and return its entry for the settings file.

    `on_progress`: called from other threads with a disk and how many bytes of it were read. Nothing
    is written before every disk is held, examined, and read to its end as zeros. Raises: Refused: a
    disk is in use or not blank; the text names the disk and what is on it; Conflict: there is such
    a pool already; Failed, OSError.
    """
    if plan.kind is PoolKind.LOOPFILE:
        write_to_blank(plan, on_progress, lambda disks: _make_filesystem(plan, disks))
        return settings(plan, "")
    lvm_pool.refuse_taken(plan)
    uuids = list[str]()
    write_to_blank(plan, on_progress, lambda disks: uuids.append(make_group(plan, disks)))
    lvm_pool.finish(plan, uuids[0])
    return settings(plan, uuids[0])


def write_to_blank(
    plan: PoolPlan,
    on_progress: OnProgress,
    write: Callable[[Sequence[HeldDisk]], None],
    lock: AbstractContextManager[object] | None = None,
) -> None:
    """Open all disks of the plan exclusively, read them, and call `write` with the open disks if
    they contain only zeros.

    `lock`: a context manager that is entered after the disks were read and left after `write`;
    None: none. `on_progress`: called from other threads with a disk and how many bytes of it were
    read. Raises: Refused: a disk is in use or not blank; OSError; what `write` raises.
    """
    with ExitStack() as locked, ExitStack() as stack:
        disks = [stack.enter_context(_held(device, plan)) for device in plan.devices]
        _require_blank(disks, plan, on_progress)
        if lock:
            locked.enter_context(lock)
        for disk in disks:
            _examine(disk, plan)
        write(disks)


def make_group(plan: PoolPlan, disks: Sequence[HeldDisk]) -> str:
    """Create the plan's volume group on `disks` and return its UUID. Raises: CommandError."""
    with covered(disks) as covers:
        return lvm_pool.make_group(plan, covers)


@contextmanager
def covered(disks: Sequence[HeldDisk]) -> Iterator[Sequence[Path]]:
    """Bind a loop device to each disk for the duration of the `with` block, and yield the paths of
    the loop devices. Raises: Failed: one cannot be unbound; OSError.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(cover.covered(disk)) for disk in disks]


def _make_filesystem(plan: PoolPlan, disks: Sequence[HeldDisk]) -> None:
    """Make the filesystem with the pool's marker on the disk. Raises: Failed, OSError."""
    [disk] = disks
    with cover.covered(disk) as path:
        pool_filesystem.make(path, plan.fs, plan.label, disk.device)
        with pool_filesystem.opened(path, plan.fs) as root:
            marker.write(root, plan.owner)
    written = filesystem.read_superblock(disk.path)
    if written is None or written.fs is not plan.fs:
        raise Failed(f"{disk.device.path} does not show the {plan.fs} that was written to it")


@contextmanager
def _held(device: BlockDevice, plan: PoolPlan) -> Iterator[HeldDisk]:
    """Hold a disk, and examine it. Raises: Refused, which names it; OSError."""
    with ExitStack() as stack:
        with _naming(device):
            _refuse_used(device, plan)
            disk = stack.enter_context(hold(device))
        _examine(disk, plan)
        yield disk


def _examine(disk: HeldDisk, plan: PoolPlan) -> None:
    """Look for anything that forbids to write to the disk, in what can be read quickly.

    Raises: Refused, which names the disk.
    """
    with _naming(disk.device):
        device = _refuse_used(disk.device, plan)
        if reason := _open_elsewhere(device) or content_refusal(device):
            raise Refused(reason)


def _refuse_used(before: BlockDevice, plan: PoolPlan) -> BlockDevice:
    """Return the device as it is now. Raises: Refused, by all that is known without reading it."""
    devices = block_devices.list_devices()
    device = next((each for each in devices if each.number == before.number), None)
    if device is None or not _is_same(device, before):
        raise Refused("it is another device than at the last check")
    consent = Consent(named=True, removable=plan.removable)
    if reason := refusal(device, usage.read_usage(devices), consent):
        raise Refused(reason)
    return device


def _is_same(now: BlockDevice, before: BlockDevice) -> bool:
    """Return whether it is the same disk, of the same size, as before."""
    return (now.name, now.size, now.sequence) == (before.name, before.size, before.sequence)


def _open_elsewhere(device: BlockDevice) -> str:
    """Return who else may write to the disk; "": nobody, as far as can be seen."""
    if reason := usage.tenant_reason(device):
        return f"it {reason}"
    users = usage.processes(device)
    return f"it is open: {', '.join(users)}" if users else ""


def _require_blank(
    disks: Sequence[HeldDisk],
    plan: PoolPlan,
    on_progress: OnProgress,
) -> None:
    """Read all disks to their ends, at once. Raises: Refused, if one is not all zeros."""
    stopped = threading.Event()

    def read(disk: HeldDisk) -> None:
        def progress(done: Bytes) -> None:
            if stopped.is_set():
                raise Refused("stopped")
            on_progress(disk.device, done)

        with _naming(disk.device):
            if data := blank_scan.find_data(
                disk.fd, disk.size, blank_scan.Rate(plan.rate), progress
            ):
                raise Refused(f"it has {data}")

    with ThreadPoolExecutor(len(disks), thread_name_prefix="read-disk") as executor:
        futures = [executor.submit(read, disk) for disk in disks]
        try:
            for future in futures:
                future.result()
        finally:
            stopped.set()


@contextmanager
def _naming(device: BlockDevice) -> Iterator[None]:
    """Put the disk's name before the text of an error, and that it was not written to."""
    try:
        yield
    except OSError as error:
        text = f"{device.path} cannot be examined: {error.strerror}; nothing was written to it"
        raise Refused(text) from error
    except CellarError as error:
        raise Refused(f"{device.path}: {error}; nothing was written to it") from error
