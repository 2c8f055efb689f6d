"""Implements the Host port: the operations of this machine's kernel on devices."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from driver.core import errnos
from driver.core.devices import Device, Extent, MountPoint, Usage
from driver.core.errors import CellarError, Failed, Refused, Unusable
from driver.core.faults import Fault
from driver.core.model import Bytes, FsType, Progress
from driver.linux import copy_extents
from driver.linux.abilities import Abilities, lacks_filesystem
from driver.linux.devices import block, dm, loop
from driver.linux.formats import filesystem
from driver.linux.meters import mount_usage
from driver.linux.mounts import (
    freeze,
    health,
    mount,
    mount_errors,
    mount_points,
    targets,
    trim,
    unmount,
)
from driver.linux.mounts.holders import holders, name_holders
from driver.linux.mounts.table import mount_table

_DETACH: Final = 2.0  # seconds that the kernel may take to let go of a device
_LAYERS: Final = 1000  # that one unmount takes down at most


class LinuxHost:
    """Formats, mounts, grows and examines filesystems and devices by this machine's kernel (the
    Host port of driver/core/ports).

    The kernel is asked at each call; only the features that it supports are remembered.
    """

    def __init__(self) -> None:
        self._abilities = Abilities()

    def lacks(self, fs: FsType) -> str | None:
        return self._abilities.lacks(fs, lambda: lacks_filesystem(fs))

    # contents
    def mkfs(self, path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        filesystem.run_mkfs(path, fs, block_size=block_size, options=options)

    def new_uuid(self, path: Path, fs: FsType, *, block_size: Bytes) -> None:
        with _failing_as(f"{fs} on {path} could not be given a UUID of its own"):
            filesystem.new_uuid(path, fs, block_size=block_size)

    def check(self, device: Device, fs: FsType) -> Bytes:
        with _failing_as(f"{device.path} could not be read"):
            return filesystem.check(device.path, fs)

    def fit(self, device: Device, fs: FsType) -> None:
        with _failing_as(f"{device.path} could not be read"):
            filesystem.grow_unmounted(device.path, fs)

    def copy(
        self, source: Path, target: Path, extents: Iterator[Extent], progress: Progress
    ) -> None:
        copy_extents.copy(source, target, extents, progress)

    # places
    def mount(
        self, device: Device, target: Path, fs: FsType, options: Sequence[str], *, read_only: bool
    ) -> None:
        with ExitStack() as undo:
            with _failing_as(f"{target} could not be made"):
                targets.make_directory(target, undo)
            was_held = block.is_held(device.path)
            try:
                mount.mount(device.path, target, fs, options, read_only=read_only)
            except OSError as error:
                raise mount_errors.not_mounted(device, fs, options, error) from error
            undo.callback(mount.unmount, target)
            if (
                was_held
                and (mount_point := self.mounted_at(target))
                and (why := self.broken(mount_point, fs))
            ):
                raise Unusable(f"{why}; it is mounted in another mount namespace")
            undo.pop_all()

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        if not mount_table.is_mount_point(source):
            raise Refused(f"{source} is not a mount point, so no volume is mounted there")
        with _failing_as(f"{source} could not be bind-mounted at {target}"), ExitStack() as undo:
            is_new = targets.make_directory(target, undo)
            if not (is_new or mount_table.is_mount_point(target)):
                targets.refuse_filled(target)
            mount.bind(source, target, read_only=read_only)
            undo.pop_all()

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        """Bind-mount the device node at `target`, a file that is created.

        A read-only mount does not apply to a device node in it, so the read-only flag of the device
        itself is set, which the kernel checks at each write. Raises: Refused, if the device is
        bound at another target with the other `read_only`.
        """
        nodes = [each for each in self.mount_points(device) if each.node]
        if any(each.read_only is not read_only for each in nodes):
            paths = ", ".join(str(each.target) for each in nodes)
            raise Refused(f"{device.path} is mounted at {paths} with another read-only flag")
        with (
            _failing_as(f"{device.path} could not be bind-mounted at {target}"),
            ExitStack() as undo,
        ):
            if not nodes:
                _set_read_only(device, read_only=read_only)
            targets.make_file(target, undo)
            mount.bind(device.path, target, read_only=read_only)
            undo.pop_all()

    def mounted_at(self, target: Path) -> MountPoint | None:
        return mount_points.mounted_at(target)

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        return mount_points.list_mount_points(device.number)

    def volume_label(self, mount: MountPoint) -> str | None:
        return mount_points.label(mount.number) or None

    def thaw(self, target: Path) -> None:
        # Else it would be the filesystem that the directory lies on.
        if mount_table.is_mount_point(target):
            with _failing_as(f"{target} could not be thawed"):
                freeze.thaw(target)

    def unmount(self, target: Path) -> None:
        for _ in range(_LAYERS):
            if not mount_table.is_mount_point(target):
                return
            unmount.unmount_with_retries(target)
        raise Failed(f"{target} is still a mount point after {_LAYERS} unmounts")

    def unmount_top(self, target: Path) -> None:
        try:
            mount.unmount(target)
        except OSError as error:
            raise unmount.not_unmounted(target, error) from error

    def release(self, label: str, prepare: Callable[[Device], None]) -> None:
        for status in loop.list_image_devices(label):
            if not mount_points.list_mount_points(status.number):
                prepare(Device(status.path, status.number, read_only=status.blocked))
                try:
                    loop.detach(status, bound=_DETACH)
                except OSError as error:
                    raise _not_released(status, error) from error
        layer = dm.find_layer(label)
        if layer and not mount_points.list_mount_points(layer.number):
            prepare(Device(layer.path, layer.number, read_only=False))
            if not dm.remove(layer.name):
                users = name_holders(layer.path, layer.number)
                raise Refused(f"{layer.path} of {label} is in use, held by: {users}")

    def remove(self, target: Path) -> None:
        if targets.try_removing_directory(target):
            return
        if mount_table.is_mount_point(target):
            raise Refused(f"{target} is a mount point; nothing was removed")
        try:
            targets.remove(target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Refused(f"{target} cannot be removed: {error.strerror}") from error

    # in use
    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        with _failing_as(f"{fs} at {target} could not be grown"):
            return filesystem.grow(device.path, target, fs)

    def broken(self, mount: MountPoint, fs: FsType) -> str | None:
        if health.is_shut_down(mount.target, fs, mount.number, mount.options):
            return health.shut_down(fs, mount_points.device_path(mount.number))
        if mount.turned:
            return health.turned_read_only(fs, mount_points.device_path(mount.number))
        return None

    def trim(self, mount: MountPoint, start: Bytes, length: Bytes, smallest: Bytes) -> Bytes:
        return trim.trim(mount, start, length, smallest)

    def usage(self, target: Path) -> Usage:
        with _failing_as(f"the usage of {target} could not be read"):
            return mount_usage.usage_from_statvfs(os.statvfs(target))

    def holders(self, device: Device) -> tuple[str, ...]:
        return holders(device.path, device.number)

    def size(self, device: Device) -> Bytes:
        with _failing_as(f"the size of {device.path} could not be read"):
            return block.size(device.path)

    def faults(self, device: Device) -> Iterator[Fault]:
        mounts = mount_points.list_filesystem_mounts(device.number)
        return health.find_filesystem_faults(device.path, device.number, mounts)

    def fault_finder(self) -> health.FaultFinder:
        return health.FaultFinder()


@contextmanager
def _failing_as(failure: str) -> Iterator[None]:
    """Turn an OSError of the `with` block into the error that errnos.failure returns.

    A full disk (errnos.FULL) stays an OSError with that text, because the owner of the disk decides
    what it means.
    """
    try:
        yield
    except OSError as error:
        if error.errno in errnos.FULL:
            raise OSError(error.errno, f"{failure}: {error.strerror or error}") from error
        raise errnos.failure(failure, error) from error


def _not_released(status: loop.Status, error: OSError) -> CellarError:
    """Return the error for a loop device that could not be detached; it names the holders."""
    if error.errno != errno.EBUSY:
        return errnos.failure(f"{status.path} cannot be detached", error)
    users = name_holders(status.path, status.number)
    return Refused(f"{status.path} of {status.label} is in use, held by: {users}")


def _set_read_only(device: Device, *, read_only: bool) -> None:
    """Set the read-only flag of the device.

    Raises: Refused, if it is to be writable but was attached read-only, so writes would fail
    later.
    """
    status = loop.status(device.path)
    if not (status.read_only if status else device.read_only):
        block.set_read_only(device.path, read_only=read_only)
    elif not read_only:
        raise Refused(f"{device.path} is attached read-only and cannot be mounted for writing")
