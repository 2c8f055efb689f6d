"""Loop devices by ioctl: attach in one step, find by the device and inode of the backing file.

By path only where that fails: after the container that attached is gone sysfs shows a shorter one.
`lo_file_name` holds a label for people; who has the node may change it. Everything
raises OSError; in a scan ENOENT, ENODEV and ENXIO mean that the device is gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.failpoints import FailPoint, reach
from driver.core.model import Bytes
from driver.linux.devices import loop_guard, loop_ioctl
from driver.linux.devices.block import BLKROGET, BLKROSET
from driver.linux.mounts import mount_points

ATTEMPTS: Final = 64
_PAUSE: Final = 0.005  # seconds
PATIENCE: Final = 0.2  # seconds
# Names let go of lately: where to look first for a free device, and never believed.
_let_go: Final[deque[str]] = deque(maxlen=ATTEMPTS)


@dataclass(frozen=True, slots=True)
class Status:
    """A bound loop device. `number` is its dev_t, `backing` st_dev and st_ino of its file.

    `read_only`: by its binding. `blocked`: by BLKROSET, or by its binding. `window`: offset and
    limit, in bytes, of the part of the file that is shown; both 0 for the whole.
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
        return bool(self.flags & loop_ioctl.LO_FLAGS_READ_ONLY)

    @property
    def autoclear(self) -> bool:
        return bool(self.flags & loop_ioctl.LO_FLAGS_AUTOCLEAR)

    @property
    def scans_partitions(self) -> bool:
        return bool(self.flags & loop_ioctl.LO_FLAGS_PARTSCAN)


def attach(  # noqa: PLR0913 - all that LOOP_CONFIGURE sets in one step
    image: Path,
    *,
    label: str,
    block_size: Bytes,
    read_only: bool,
    discards: bool,
    direct_io: bool = True,
) -> Status:
    """Bind `image` to a free loop device with logical blocks of `block_size` bytes.

    `label`: for people, at most 63 bytes. `discards`: whether the device takes discards.

    Does not check whether `image` is bound already: `find` does. The kernel falls back to
    buffered I/O by itself where it cannot do direct I/O in such blocks: see `has_direct_io`.
    Raises: Refused, if discards cannot be forbidden because /sys is read-only; OSError, EBUSY
    if no device is free.
    """
    flags = loop_ioctl.LO_FLAGS_READ_ONLY if read_only else 0
    flags |= loop_ioctl.LO_FLAGS_DIRECT_IO if direct_io else 0
    info = loop_ioctl.LoopInfo64(lo_flags=flags, lo_file_name=loop_ioctl.fitting(label))
    with (
        loop_ioctl.opened(os.fspath(image), os.O_RDONLY if read_only else os.O_RDWR) as backing,
        loop_ioctl.opened(loop_ioctl.CONTROL, os.O_RDWR) as control,
    ):
        config = loop_ioctl.LoopConfig(fd=backing, block_size=block_size, info=info)
        exposed = mount_points.bound_nodes()
        for name in _candidates(control, exposed, discards=discards):
            if bound := _bind(name, config, discards=discards):
                return bound
    raise OSError(errno.EBUSY, f"no loop device could be claimed in {ATTEMPTS} tries", str(image))


def find(backing: tuple[int, int], folder: str = "") -> Status | None:
    """Return the device bound to the file with that (st_dev, st_ino); None: it has none.

    Asks each device: about 10 us. `folder`: the name of the directory that the file lies in,
    which no image of another volume has. Devices of such others are not asked:
    LOOP_GET_STATUS64 asks their filesystems, which may hang.
    """
    return next(_scan(lambda info: backing_of(info) == backing, folder), None)


def bound() -> Iterator[Status]:
    """Yield all bound loop devices that can be asked, also those bound to a block device."""
    return _scan(lambda _: True)


def of_image(image_id: str) -> Iterator[Status]:
    """Yield the devices whose backing file is, by its path, that of the image `image_id`.

    One that cannot be asked, since its pool's filesystem is dead (EIO), is among them, with a
    `backing` of zeros.
    """
    for name in loop_ioctl.names():
        is_its = mount_points.image_id(loop_ioctl.backing_file(name)) == image_id
        if is_its and (found := status(Path("/dev", name))):
            yield found


def over(number: int) -> Iterator[Status]:
    """Yield the devices bound to the block device `number` (dev_t); kubelet makes such ones."""
    return _scan(lambda info: bool(info.lo_rdevice == number), "none is an image")


def below(path: Path) -> int:
    """Return dev_t of the block device that it is bound to; 0: to a file, or not bound."""
    try:
        with loop_ioctl.opened(os.fspath(path), os.O_RDONLY) as node:
            return int(loop_ioctl.info_of(node).lo_rdevice)
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return 0
        raise


def status(path: Path) -> Status | None:
    """Return the status of a loop device; None: it is not bound.

    If its pool's filesystem is dead (EIO), `backing` is zeros.
    """
    try:
        return _told(path.name) or _unknown(path.name)
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return None
        raise


def detach(status: Status, *, bound: float, patience: float = PATIENCE) -> None:
    """Unbind a loop device, and wait at most `bound` seconds until it is unbound.

    No-op if it is not bound, or is bound to another file by now. LOOP_CLR_FD answers 0 while
    others have the device open, and tears down when the last of them closes it; we may be the
    last, so our own descriptor goes first.

    EBUSY is tried again for `patience` seconds: a child of this process holds copies of all
    descriptors between its vfork and its exec, and with them what they keep open. Raises:
    OSError, EBUSY if it is in use.
    """
    loop_guard.let_go(status.number)
    with loop_ioctl.content_when_gone(), ExitStack() as undo:
        node = _open_alone(status.path, patience, undo)
        if not _shows(node, status):
            return
        fcntl.ioctl(node, loop_ioctl.LOOP_CLR_FD)
        if not _is_bound(node):
            _lift_read_only(node)
    for _ in _until(bound):
        if not _still_shows(status):
            _let_go.appendleft(status.path.name)
            return
    raise OSError(errno.EBUSY, "still held by somebody", os.fspath(status.path))


def clear_when_closed(status: Status) -> None:
    """Have the kernel unbind a device that could not be detached, when its last user closes it."""
    with loop_ioctl.opened(os.fspath(status.path), os.O_RDONLY) as node:
        info = loop_ioctl.info_of(node)
        if backing_of(info) == status.backing:
            info.lo_flags |= loop_ioctl.LO_FLAGS_AUTOCLEAR
            fcntl.ioctl(node, loop_ioctl.LOOP_SET_STATUS64, info)


def grow(status: Status) -> None:
    """Give the device the size that its backing file has now."""
    with loop_ioctl.opened(os.fspath(status.path), os.O_RDONLY) as node:
        fcntl.ioctl(node, loop_ioctl.LOOP_SET_CAPACITY)


def has_direct_io(status: Status) -> bool:
    """Return whether the device does direct I/O on its backing file."""
    return loop_ioctl.attribute(status.path.name, "loop/dio") == b"1"


def _open_alone(path: Path, patience: float, undo: ExitStack) -> int:
    """Open a device exclusively, trying for `patience` seconds.

    Raises: OSError, EBUSY if somebody else has it exclusively, as a mount has.
    """
    for _ in _until(patience):
        try:
            return undo.enter_context(loop_ioctl.opened(os.fspath(path), os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), os.fspath(path))


def _until(seconds: float) -> Iterator[None]:
    """Yield at once, and again in growing intervals until `seconds` have passed."""
    deadline, pause = time.monotonic() + seconds, 0.001
    yield
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 2, 0.1)
        yield


def _candidates(control: int, exposed: frozenset[int], *, discards: bool) -> Iterator[str]:
    """Yield free devices, best first; each may be taken by somebody else before it is bound.

    Never one whose node is bound somewhere (`exposed`): it was detached there, by whomever, and
    what is bound now would be shown there. A device that is removed and made anew has its
    number.

    Since Linux 6.9 a device keeps `discard_max_bytes=0` for life: sysfs refuses to raise it
    again, a new binding does not reset it. Setting it waits for RCU (15 ms), removing such a
    device takes 44 ms. So devices with and without discards live side by side, and each is used
    for its kind. The kernel names the same free device again and again while somebody looks at
    it exclusively.
    """
    last, added = "", False
    for _ in range(ATTEMPTS):
        free = f"loop{fcntl.ioctl(control, loop_ioctl.LOOP_CTL_GET_FREE)}"
        held, last = free == last, free  # not bound, but somebody has it open exclusively
        is_shown = _is_exposed(free, exposed)
        if held or is_shown or not _suits(free, discards=discards):
            for name in filter(_is_free, _known()):
                if _suits(name, discards=discards) and not _is_exposed(name, exposed):
                    yield name
            if held and added:
                time.sleep(_PAUSE)
            elif held or is_shown or discards:
                free = f"loop{fcntl.ioctl(control, loop_ioctl.LOOP_CTL_ADD, -1)}"
                added = held and not _is_exposed(free, exposed)
        if not _is_exposed(free, exposed):
            yield free


def _is_exposed(name: str, exposed: frozenset[int]) -> bool:
    """Return whether a device's node is bound somewhere; False if the device is gone."""
    with loop_ioctl.content_when_gone():
        return bool(exposed) and loop_ioctl.number_of(name) in exposed
    return False  # type: ignore[unreachable]


def _known() -> Iterator[str]:
    """Yield the devices detached lately, then all: a good guess spares the list."""
    yield from tuple(_let_go)  # a good guess spares the list of all: 0.1 ms for 200
    yield from loop_ioctl.names()


def _is_free(name: str) -> bool:
    """Return whether a device is not bound."""
    return not os.path.exists(f"{loop_ioctl.BLOCK}/{name}/loop")


def _suits(name: str, *, discards: bool) -> bool:
    """Return whether a device takes discards, or not, as asked for.

    One that was never bound shows 0 for both limits, and suits both kinds.
    """
    try:
        off = loop_ioctl.attribute(name, "queue/discard_max_bytes") == b"0"
        return (
            off is not discards or loop_ioctl.attribute(name, "queue/discard_max_hw_bytes") == b"0"
        )
    except FileNotFoundError:
        return False  # removed since it was listed


def _bind(name: str, config: loop_ioctl.LoopConfig, *, discards: bool) -> Status | None:
    """Bind a device; None: another process was quicker, or the device is gone."""
    with loop_ioctl.content_when_gone(), loop_ioctl.opened(f"/dev/{name}", os.O_RDWR) as node:
        if _configure(node, config):
            return _finish(name, node, discards=discards)
    return None


def _finish(name: str, node: int, *, discards: bool) -> Status:
    """Set what LOOP_CONFIGURE cannot set; unbind the device again if that fails."""
    with ExitStack() as undo:
        undo.callback(fcntl.ioctl, node, loop_ioctl.LOOP_CLR_FD)
        reach(FailPoint.ATTACH_BOUND)
        _lift_read_only(node)
        if not discards:
            loop_ioctl.forbid_discards(name)
        status = _status(name, node, loop_ioctl.info_of(node))
        undo.pop_all()
        return status


def _configure(node: int, config: loop_ioctl.LoopConfig) -> bool:
    """Bind a device; return False if it is bound already, or somebody has it exclusively."""
    try:
        fcntl.ioctl(node, loop_ioctl.LOOP_CONFIGURE, config)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _lift_read_only(node: int) -> None:
    """Undo BLKROSET, which outlives the binding: the next one would refuse writes."""
    fcntl.ioctl(node, BLKROSET, b"\0\0\0\0")


def _is_bound(node: int) -> bool:
    """Return whether an open device is bound. Raises: OSError, if that cannot be asked."""
    try:
        loop_ioctl.info_of(node)
    except OSError as error:
        return error.errno not in loop_ioctl.GONE
    return True


def _scan(wanted: Callable[[loop_ioctl.LoopInfo64], bool], folder: str = "") -> Iterator[Status]:
    """Yield the bound devices that `wanted` accepts; see `find` for `folder`."""
    names = (name for name in loop_ioctl.names() if not folder or _may_lie_in(name, folder))
    return filter(None, (_ask(name, wanted) for name in names))


def _may_lie_in(name: str, folder: str) -> bool:
    """Return whether its backing file may lie in `folder`, or is none of an image.

    By the path that sysfs has of the backing file: no filesystem is asked for it.
    """
    return mount_points.image_id(loop_ioctl.backing_file(name)) in {"", folder}


def _ask(name: str, wanted: Callable[[loop_ioctl.LoopInfo64], bool]) -> Status | None:
    """Return the status of a device; None: not bound, not `wanted`, or it cannot be told.

    A pool whose xfs was shut down answers EIO for its images (stat of the file does too), so
    such a device can be no file that anybody could have found: it must not spoil the scan of
    the others.
    """
    try:
        with loop_ioctl.opened(f"/dev/{name}", os.O_RDONLY) as node:
            info = loop_ioctl.info_of(node)
            return _status(name, node, info) if wanted(info) else None
    except OSError as error:
        if error.errno in loop_ioctl.GONE or error.errno == errno.EIO:
            return None
        raise


def _told(name: str) -> Status | None:
    """Return the status of a device; None: EIO. Raises: OSError, if it is not bound."""
    try:
        with loop_ioctl.opened(f"/dev/{name}", os.O_RDONLY) as node:
            return _status(name, node, loop_ioctl.info_of(node))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


def _unknown(name: str) -> Status:
    """Return what is known of a device whose backing file cannot be asked (EIO)."""
    return Status(Path("/dev", name), loop_ioctl.number_of(name), (0, 0), "")


def _status(name: str, node: int, info: loop_ioctl.LoopInfo64) -> Status:
    return Status(
        path=Path("/dev", name),
        number=os.fstat(node).st_rdev,
        backing=backing_of(info),
        label=info.lo_file_name.decode(errors="replace"),
        flags=info.lo_flags,
        blocked=any(fcntl.ioctl(node, BLKROGET, bytes(4))),
        window=(info.lo_offset, info.lo_sizelimit),
    )


def backing_of(info: loop_ioctl.LoopInfo64) -> tuple[int, int]:
    """Return st_dev and st_ino of the file that the device is bound to."""
    return info.lo_device, info.lo_inode


def _shows(node: int, status: Status) -> bool:
    """Return whether it is still bound to that file; True if that cannot be asked (EIO)."""
    try:
        return backing_of(loop_ioctl.info_of(node)) == status.backing
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return True


def _still_shows(status: Status) -> bool:
    """Return what `_shows` does, by the path of the device; False if it is gone."""
    try:
        with loop_ioctl.opened(os.fspath(status.path), os.O_RDONLY) as node:
            return _shows(node, status)
    except OSError as error:
        if error.errno in loop_ioctl.GONE:
            return False
        raise
