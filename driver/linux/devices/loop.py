"""Loop devices by ioctl: found by the device and inode number of the backing file.

They are found by path only if that fails, because sysfs shows a shortened path once the container
that attached the file is gone. `lo_file_name` has a label for people, which whoever has the device
node can change. All functions raise OSError; while devices are listed, ENOENT, ENODEV and ENXIO
mean that a device has been removed, and are ignored.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.backoff import Backoff
from driver.linux.devices import loop_free, loop_guard, loop_ioctl
from driver.linux.devices.block import BLKROGET, BLKROSET
from driver.linux.mounts import mount_points

BUSY_TIMEOUT: Final = 0.2  # seconds
_BUSY_BACKOFF: Final = Backoff(0.001, 0.1)


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a bound loop device. `backing`: st_dev and st_ino of the file to which it is
    bound; `label`: the text given when it was bound; `flags`: LO_FLAGS_*.

    `blocked`: the device refuses writes, by BLKROSET or because it was bound read-only. `window`:
    offset and size limit, in bytes, of the part of the file that the device maps; both 0: the whole
    file.
    """

    path: Path
    number: int
    backing: tuple[int, int]
    label: str
    flags: int = 0
    blocked: bool = False
    window: tuple[int, int] = (0, 0)

    @property
    def read_only(self) -> bool:
        """Return whether the loop device was bound read-only."""
        return bool(self.flags & loop_ioctl.LO_FLAGS_READ_ONLY)

    @property
    def autoclear(self) -> bool:
        """Return whether the kernel unbinds the loop device when its last user closes it."""
        return bool(self.flags & loop_ioctl.LO_FLAGS_AUTOCLEAR)

    @property
    def scans_partitions(self) -> bool:
        """Return whether the kernel searches for partitions on the loop device."""
        return bool(self.flags & loop_ioctl.LO_FLAGS_PARTSCAN)


def find(backing: tuple[int, int], folder: str = "") -> Status | None:
    """Return the status of the loop device bound to the file with the (st_dev, st_ino) `backing`;
    None: there is none.

    Asks the kernel about each loop device (10 us each). `folder`: the name of the file's directory,
    if no other image's directory has it; devices of files in other directories are then skipped,
    because asking about them accesses filesystems that may hang.
    """
    return next(_scan(lambda info: backing_inode(info) == backing, folder), None)


def list_bound() -> Iterator[Status]:
    """Yield the status, if it can be read, of all loop devices bound to a file or block device."""
    return _scan(lambda _: True)


def list_image_devices(image_id: str) -> Iterator[Status]:
    """Yield the status of the loop devices whose backing file has the path of the image `image_id`.

    A device whose status cannot be read, because its filesystem is dead (EIO), is included, with
    zeros as `backing`.
    """
    for name in loop_ioctl.names():
        is_its = mount_points.image_id(loop_ioctl.backing_file(name)) == image_id
        if is_its and (image_status := status(Path("/dev", name))):
            yield image_status


def list_on_device(number: int) -> Iterator[Status]:
    """Yield the status of the loop devices that are bound to the block device `number` (dev_t).
    Kubelet binds such loop devices to block volumes.
    """
    return _scan(lambda info: bool(info.lo_rdevice == number), "none is an image")


def read_parent(path: Path) -> int:
    """Return the number (dev_t) of the block device to which the loop device is bound; 0: it is
    bound to a file, or not bound.
    """
    try:
        with loop_ioctl.OpenedNode(path, os.O_RDONLY) as node:
            return int(loop_ioctl.read_info(node).lo_rdevice)
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return 0
        raise


def status(path: Path) -> Status | None:
    """Return the status of a loop device; None: it is not bound.

    If the filesystem of its file is dead (EIO), `backing` is zeros.
    """
    try:
        return _read_status(path.name) or _unreadable_status(path.name)
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return None
        raise


def detach(status: Status, *, bound: float, busy_timeout: float = BUSY_TIMEOUT) -> None:
    """Unbind a loop device, waiting at most `bound` seconds until it is unbound.

    No-op if the device is not bound, or is bound to another file now. While other processes have
    the device open, LOOP_CLR_FD returns 0 and the kernel unbinds the device when the last one
    closes it. This process's own descriptor (loop_guard) is closed first.

    After EBUSY the call is repeated for `busy_timeout` seconds, because a child of this process has
    copies of all descriptors between its vfork and its exec. Raises: OSError, EBUSY if the device
    is in use.
    """
    loop_guard.close(status.number)
    is_bound = True
    with loop_ioctl.ignore_gone(), ExitStack() as undo:
        node = _open_exclusively(status.path, busy_timeout, undo)
        if not _node_has_file(node, status):
            return
        fcntl.ioctl(node, loop_ioctl.LOOP_CLR_FD)
        if not (is_bound := _is_bound(node)):
            clear_read_only(node)
    for _ in _BUSY_BACKOFF.attempts(bound):
        if not (is_bound and _has_same_file(status)):
            loop_free.remember(status.path.name)
            return
    raise OSError(errno.EBUSY, "still in use", os.fspath(status.path))


def detach_when_closed(status: Status) -> None:
    """Make the kernel unbind a loop device that is in use, when its last user closes it."""
    with loop_ioctl.OpenedNode(status.path, os.O_RDONLY) as node:
        info = loop_ioctl.read_info(node)
        if backing_inode(info) == status.backing:
            info.lo_flags |= loop_ioctl.LO_FLAGS_AUTOCLEAR
            fcntl.ioctl(node, loop_ioctl.LOOP_SET_STATUS64, info)


def update_size(status: Status) -> None:
    """Update the size of the loop device to the present size of its backing file."""
    with loop_ioctl.OpenedNode(status.path, os.O_RDONLY) as node:
        fcntl.ioctl(node, loop_ioctl.LOOP_SET_CAPACITY)


def has_direct_io(status: Status) -> bool:
    """Return whether the loop device uses direct I/O on its backing file."""
    return loop_ioctl.attribute(status.path.name, "loop/dio") == b"1"


def _open_exclusively(path: Path, busy_timeout: float, undo: ExitStack) -> int:
    """Open a device exclusively, trying for `busy_timeout` seconds.

    Raises: OSError, EBUSY if somebody else has it exclusively, as a mount has.
    """
    for _ in _BUSY_BACKOFF.attempts(busy_timeout):
        try:
            return undo.enter_context(loop_ioctl.OpenedNode(path, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), os.fspath(path))


def clear_read_only(node: int) -> None:
    """Clear the read-only flag of a loop device (BLKROSET), which stays set when the device is
    bound again. `node`: an open descriptor of the device.
    """
    fcntl.ioctl(node, BLKROSET, b"\0\0\0\0")


def _is_bound(node: int) -> bool:
    """Return whether an open device is bound. Raises: OSError, if that cannot be asked."""
    try:
        loop_ioctl.read_info(node)
    except OSError as error:
        return error.errno not in loop_ioctl.GONE
    return True


def _scan(accept: Callable[[loop_ioctl.LoopInfo64], bool], folder: str = "") -> Iterator[Status]:
    """Yield the bound devices that `accept` accepts; see `find` for `folder`."""
    names = (name for name in loop_ioctl.names() if not folder or _may_lie_in(name, folder))
    return filter(None, (_status_if(name, accept) for name in names))


def _may_lie_in(name: str, folder: str) -> bool:
    """Return whether the backing file may lie in `folder`, or is no image.

    It is decided by the path of the backing file in sysfs, so that no filesystem is accessed.
    """
    return mount_points.image_id(loop_ioctl.backing_file(name)) in {"", folder}


def _status_if(name: str, accept: Callable[[loop_ioctl.LoopInfo64], bool]) -> Status | None:
    """Return the status of a device; None: not bound, refused by `accept`, or unreadable.

    A pool whose xfs was shut down returns EIO for its images, as stat(2) of the file does. Such a
    device cannot be the one that is searched for, and must not end the search.
    """
    try:
        with loop_ioctl.OpenedNode(f"/dev/{name}", os.O_RDONLY) as node:
            info = loop_ioctl.read_info(node)
            return status_from_info(name, node, info) if accept(info) else None
    except OSError as error:
        if error.errno in loop_ioctl.GONE or error.errno == errno.EIO:
            return None
        raise


def _read_status(name: str) -> Status | None:
    """Return the status of a device; None: EIO. Raises: OSError, if it is not bound."""
    try:
        with loop_ioctl.OpenedNode(f"/dev/{name}", os.O_RDONLY) as node:
            return status_from_info(name, node, loop_ioctl.read_info(node))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def _unreadable_status(name: str) -> Status:
    """Return the known part of the status of a device whose backing file cannot be examined
    (EIO).
    """
    return Status(Path("/dev", name), loop_ioctl.read_number(name), (0, 0), "")


def status_from_info(name: str, node: int, info: loop_ioctl.LoopInfo64) -> Status:
    """Return the status of the loop device /dev/`name`. `node`: an open descriptor of it; `info`:
    the result of LOOP_GET_STATUS64. Raises: OSError.
    """
    return Status(
        path=Path("/dev", name),
        number=os.fstat(node).st_rdev,
        backing=backing_inode(info),
        label=info.lo_file_name.decode(errors="replace"),
        flags=info.lo_flags,
        blocked=any(fcntl.ioctl(node, BLKROGET, bytes(4))),
        window=(info.lo_offset, info.lo_sizelimit),
    )


def backing_inode(info: loop_ioctl.LoopInfo64) -> tuple[int, int]:
    """Return st_dev and st_ino of the file to which a loop device is bound, from its `info`."""
    return info.lo_device, info.lo_inode


def _node_has_file(node: int, status: Status) -> bool:
    """Return whether the open device is bound to the file of `status`; True if unknown (EIO)."""
    try:
        return backing_inode(loop_ioctl.read_info(node)) == status.backing
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return True


def _has_same_file(status: Status) -> bool:
    """Return whether the device is bound to the file of `status`; False if it does not exist."""
    try:
        with loop_ioctl.OpenedNode(status.path, os.O_RDONLY) as node:
            return _node_has_file(node, status)
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return False
        raise
