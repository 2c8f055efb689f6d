"""The Host port: what this machine's kernel does with a device, whatever lies below it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from driver.core import errnos
from driver.core.devices import Device, Extent, MountPoint, Usage
from driver.core.errors import Failed, Invalid, Refused, Unusable
from driver.core.faults import Fault
from driver.core.model import Bytes, FsType, Progress
from driver.linux import copy_extents
from driver.linux.abilities import Abilities, lacks_filesystem
from driver.linux.devices import block, dm, loop
from driver.linux.formats import filesystem, sparse_space
from driver.linux.mounts import freeze, fsopen, health, mount, mount_points, mount_table, targets
from driver.linux.mounts.holders import holders

_DETACH: Final = 2.0  # seconds that the kernel may take to let go of a device
_BRIEFLY: Final = 0.5  # seconds for which a mount may be busy with somebody who only looks
_PAUSES: Final = (0.001, 0.004, 0.01, 0.02, 0.04)  # seconds; then holders are sought, too
_LAYERS: Final = 1000  # that one unmount takes down at most


class LinuxHost:
    """Implement core.ports.Host; see there for each method.

    Everything is asked of the kernel each time, except what it can do at all.
    """

    def __init__(self) -> None:
        self._abilities = Abilities()

    def lacks(self, fs: FsType) -> str | None:
        return self._abilities.lacks(fs, lambda: lacks_filesystem(fs))

    # contents
    def mkfs(self, path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        filesystem.run_mkfs(path, fs, block_size=block_size, options=options)

    def new_uuid(self, path: Path, fs: FsType, *, block_size: Bytes) -> None:
        with _told(f"{fs} on {path} could not be given a UUID of its own"):
            filesystem.new_uuid(path, fs, block_size=block_size)

    def check(self, device: Device, fs: FsType) -> None:
        with _told(f"{device.path} could not be read"):
            filesystem.check(device.path, fs)

    def fit(self, device: Device, fs: FsType) -> None:
        with _told(f"{device.path} could not be read"):
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
            with _told(f"{target} could not be made"):
                targets.make_directory(target, undo)
            was_held = block.is_held(device.path)
            try:
                mount.mount(device.path, target, fs, options, read_only=read_only)
            except OSError as error:
                full = _not_mounted_for_want_of_room(device, fs, error)
                raise full or _not_mounted(device, fs, options, error) from error
            undo.callback(mount.unmount, target)
            if was_held and (place := self.mounted_at(target)) and (why := self.broken(place, fs)):
                raise Unusable(f"{why}; somebody has it mounted elsewhere, in another namespace")
            undo.pop_all()

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        if not mount_table.is_mount_point(source):
            raise Refused(f"{source} is not a mount point, so it shows no volume")
        with _told(f"{source} could not be shown at {target}"), ExitStack() as undo:
            targets.make_directory(target, undo)
            if not mount_table.is_mount_point(target):
                targets.refuse_filled(target)
            mount.bind(source, target, read_only=read_only)
            undo.pop_all()

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        """Bind-mount the device node; see core.ports.Host.

        The read-only flag of a mount does not apply to a device node below it, so the device's
        own flag is set, which the kernel checks at each write. Raises: Refused, if it is bound
        elsewhere with another read-only flag.
        """
        others = [each for each in self.mount_points(device) if each.node]
        if any(each.read_only is not read_only for each in others):
            shown = ", ".join(str(each.target) for each in others)
            raise Refused(f"{device.path} is shown at {shown} with another read-only flag")
        with _told(f"{device.path} could not be shown at {target}"), ExitStack() as undo:
            if not others:
                _set_read_only(device, read_only=read_only)
            targets.make_file(target, undo)
            mount.bind(device.path, target, read_only=read_only)
            undo.pop_all()

    def mounted_at(self, target: Path) -> MountPoint | None:
        return mount_points.mounted_at(target)

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        return mount_points.of_device(device.number)

    def volume_label(self, mount: MountPoint) -> str | None:
        return mount_points.label(mount.number) or None

    def thaw(self, target: Path) -> None:
        # Else it would be the filesystem that the directory lies on.
        if mount_table.is_mount_point(target):
            with _told(f"{target} could not be thawed"):
                freeze.thaw(target)

    def unmount(self, target: Path) -> None:
        for _ in range(_LAYERS):
            if not mount_table.is_mount_point(target):
                return
            _unmount_patiently(target)
        raise Failed(f"{target} is still a mount point after {_LAYERS} unmounts")

    def unmount_top(self, target: Path) -> None:
        try:
            mount.unmount(target)
        except OSError as error:
            raise _not_unmounted(target, error) from error

    def release(self, label: str) -> None:
        for status in loop.list_of_image(label):
            if not mount_points.of_device(status.number):
                try:
                    loop.detach(status, bound=_DETACH)
                except OSError as error:
                    raise _not_released(status, error) from error
        layer = dm.find_layer(label)
        if layer and not mount_points.of_device(layer.number) and not dm.remove(layer.name):
            who = ", ".join(holders(layer.path, layer.number)) or "nobody that can be seen here"
            raise Refused(f"{layer.path} of {label} is in use, held by: {who}")

    def remove(self, target: Path) -> None:
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
        with _told(f"{fs} at {target} could not be grown"):
            return filesystem.grow(device.path, target, fs)

    def broken(self, mount: MountPoint, fs: FsType) -> str | None:
        if health.is_shut_down(mount.target, fs, mount.number, mount.options):
            return health.shut_down(fs, mount_points.path_of(mount.number))
        if mount.turned:
            return health.turned_read_only(fs, mount_points.path_of(mount.number))
        return None

    def usage(self, target: Path) -> Usage:
        with _told(f"{target} cannot say what it uses"):
            found = os.statvfs(target)
        return Usage(
            total=found.f_blocks * found.f_frsize,
            used=(found.f_blocks - found.f_bfree) * found.f_frsize,
            available=found.f_bavail * found.f_frsize,
            inodes=found.f_files,
            inodes_used=found.f_files - found.f_ffree,
            inodes_free=found.f_ffree,
        )

    def size(self, device: Device) -> Bytes:
        with _told(f"{device.path} cannot say how large it is"):
            return block.size(device.path)

    def faults(self, device: Device) -> Iterator[Fault]:
        mounts = mount_points.filesystems_of(device.number)
        return health.of_filesystem(device.path, device.number, mounts)

    def fault_finder(self) -> health.FaultFinder:
        return health.FaultFinder()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn an OSError raised inside into Failed with the text "{what}: {strerror}".

    A full disk (errnos.FULL) stays an OSError with that text: what it means is decided by
    whoever owns the disk.
    """
    try:
        yield
    except OSError as error:
        said = f"{what}: {error.strerror or error}"
        if error.errno in errnos.FULL:
            raise OSError(error.errno, said) from error
        raise Failed(said) from error


def _not_released(status: loop.Status, error: OSError) -> Refused | Failed:
    """Return the error for a loop device that could not be detached; it names the holders."""
    if error.errno != errno.EBUSY:
        return Failed(f"{status.path} cannot be detached: {error.strerror}")
    who = ", ".join(holders(status.path, status.number)) or "nobody that can be seen here"
    return Refused(f"{status.path} of {status.label} is in use, held by: {who}")


def _not_mounted_for_want_of_room(device: Device, fs: FsType, error: OSError) -> Unusable | None:
    """Return the error if the mount failed because the log could not be written in a full pool.

    None: it failed for another reason.
    """
    if error.errno == errno.ENOSPC or (
        error.errno == errno.EIO and sparse_space.is_full(device.path)
    ):
        return Unusable(
            f"{fs} on {device.path} could not be mounted: it must write its log, and its pool is"
            f" full ({error.strerror}); make room there, and try again: it is not damaged"
        )
    return None


def _not_mounted(
    device: Device, fs: FsType, options: Sequence[str], error: OSError
) -> Invalid | Refused | Failed:
    """Return the error for the errno of mount(2); the kernel's log has more."""
    what = f"{fs} on {device.path} could not be mounted"
    _, data = mount.split_options(options)
    match error.errno:
        case errno.EINVAL if data:
            refused = fsopen.refused_option(fs, data) or ",".join(data)
            return Invalid(f"mount_flags: the kernel does not accept {refused!r} for {fs}")
        case errno.EINVAL | errno.ENODEV:
            return Refused(f"{what}: this kernel cannot ({error.strerror}); see its log")
        case errno.EUCLEAN | errno.EBADMSG | errno.EIO:
            return Refused(f"{what}: it is damaged ({error.strerror}); see the kernel log")
        case errno.EROFS | errno.EACCES:
            return Refused(f"{what}: the device is read-only; its log may need a writable one once")
        case errno.EBUSY:
            return Refused(f"{what}: it is in use, or mounted with another read-only flag")
    return Failed(f"{what}: {error.strerror}")


def _unmount_patiently(target: Path) -> None:
    """Unmount one layer; try again for _BRIEFLY seconds while it is busy and no holder is found.

    Whoever looks at a mount holds it for the time of one system call, also the statfs of a
    monitor: such a holder is not named. Raises: Refused, if it stays busy, or a holder is
    found; Failed.
    """
    end = time.monotonic() + _BRIEFLY
    for tried in count():
        try:
            mount.unmount(target)
            return
        except OSError as error:
            patient = error.errno == errno.EBUSY and time.monotonic() < end
            if not patient or (tried >= len(_PAUSES) and _held_by(target)):
                raise _not_unmounted(target, error) from error
        time.sleep(_PAUSES[min(tried, len(_PAUSES) - 1)])


def _held_by(target: Path) -> list[str]:
    """Return who uses the mount at `target`: processes, devices, and mounts below it.

    Empty: nobody who can be seen, or it is no mount point any more.
    """
    if not (layers := mount_table.at(target)):
        return []
    number = mount_points.place(layers[-1]).number
    device = mount_points.path_of(number) if number else target
    below = [f"the mount at {each}" for each in mount_table.below(layers[-1].target)]
    return [*below, *holders(device, number)]


def _not_unmounted(target: Path, error: OSError) -> Refused | Failed:
    """Return the error for a failed unmount; it names the holders."""
    if error.errno != errno.EBUSY or not mount_table.at(target):
        return Failed(f"{target} could not be unmounted: {error.strerror}")
    held = ", ".join(_held_by(target)) or "a process that cannot be seen from here"
    return Refused(f"{target} is busy: held by {held}")


def _set_read_only(device: Device, *, read_only: bool) -> None:
    """Set the read-only flag of the device.

    Raises: Refused, if it is to be writable but was attached read-only, so writes would fail
    later.
    """
    status = loop.status(device.path)
    if not (status.read_only if status else device.read_only):
        block.set_read_only(device.path, read_only=read_only)
    elif not read_only:
        raise Refused(f"{device.path} is attached read-only and cannot be shown for writing")
