"""The port to a machine's kernel: filesystems and mounts on devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from driver.core.devices import Device, Extent, MountPoint, Usage
from driver.core.faults import Fault
from driver.core.model import Bytes, FsType, Progress


class FaultFinder(Protocol):
    """Finds what is wrong with devices."""

    def faults(self, device: Device) -> Iterator[Fault]:
        """Yield what is wrong with `device` and with the filesystem on it."""


class Host(Protocol):
    """What the kernel of this machine does with a device, whatever storage is below it."""

    def lacks(self, fs: FsType) -> str | None:
        """Return why no volume with `fs` can be used on this machine; None: it can. Cheap: it is
        asked for each call.
        """

    # formats
    def mkfs(self, path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        """Format `path` with `fs`; `options` are words for mkfs. Only called inside
        `Backend.create`, on an image that was never visible as a volume (promise 1).

        Raises: Invalid: mkfs refuses `options`, or what they make cannot be mounted.
        """

    def new_uuid(self, path: Path, fs: FsType, *, block_size: Bytes) -> None:
        """Give the filesystem of a copy a new UUID and verify it by reading it back. Raises:
        Refused: there is no `fs`; Failed.
        """

    def check(self, device: Device, fs: FsType) -> None:
        """Verify that `device` carries `fs`, and repair what can be repaired safely.

        Raises: Refused: it carries something else, or is damaged; nothing was written.
        """

    def fit(self, device: Device, fs: FsType) -> None:
        """Grow an unmounted filesystem to its device, on machines whose kernel cannot grow it while
        mounted; no-op elsewhere.

        Raises: Refused, Unusable, Failed: it has its old size and is intact.
        """

    def copy(
        self, source: Path, target: Path, extents: Iterator[Extent], progress: Progress
    ) -> None:
        """Copy the bytes of `extents` from `source` to the same offsets in `target`; holes stay.
        `progress` is called with the number of bytes of each piece.
        """

    # mounts
    def mount(
        self, device: Device, target: Path, fs: FsType, options: Sequence[str], *, read_only: bool
    ) -> None:
        """Mount `device` at `target`, whose last component is created.

        Raises: Invalid: the kernel refuses an option; Unusable: the filesystem broke earlier and is
        still mounted elsewhere, or its log cannot be written for want of space.
        """

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        """Bind-mount the directory `source` at `target`, which is created. Raises: Refused: there
        are files in `target`.
        """

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        """Bind-mount the device node at `target`, a file that is created.

        Raises: Refused: another target shows the device with the other `read_only`.
        """

    def mounted_at(self, target: Path) -> MountPoint | None:
        """Return what the topmost mount at `target` itself shows, or None: no mount point."""

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        """Return every mount of this mount namespace that shows `device`."""

    def volume_label(self, mount: MountPoint) -> str | None:
        """Return the id of the image that `mount` shows; None: the kernel cannot tell."""

    def thaw(self, target: Path) -> None:
        """Thaw the filesystem at `target`; no-op if it is not frozen. A frozen filesystem can be
        unmounted and stays frozen.
        """

    def unmount(self, target: Path) -> None:
        """Unmount every layer at `target`; no-op if there is none. Raises: Refused: it is busy; the
        text names the holders.
        """

    def unmount_top(self, target: Path) -> None:
        """Unmount the topmost layer at `target`; no-op if there is none. Raises: Refused: it is
        busy; the text names the holders.
        """

    def release(self, label: str, prepare: Callable[[Device], None]) -> None:
        """Detach the device of the image with the id `label`, whose pool is unavailable or cannot
        tell. No-op while a mount shows it. `prepare` is called with the device before.
        """

    def remove(self, target: Path) -> None:
        """Remove an empty directory or file that was made as a mount point; no-op if it does not
        exist.

        Raises: Refused: it is a mount point, or something else.
        """

    # in use
    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        """Grow the mounted filesystem at `target` to its device; no-op if it fills it.

        Returns True if it grew in a way that a power cut could undo badly: `Backend.quiesce` should
        write it out. Raises: Busy, Refused, Unusable, Failed: it has its old size; StillRunning:
        the kernel is still at work.
        """

    def broken(self, mount: MountPoint, fs: FsType) -> str | None:
        """Return why the mounted filesystem does not work any more (shut down, turned read-only);
        None: it works.
        """

    def trim(self, mount: MountPoint, start: Bytes, length: Bytes, smallest: Bytes) -> Bytes:
        """Discard the free extents, of at least `smallest` bytes, in a range of the mounted
        filesystem, and return their bytes. Raises: OSError.
        """

    def usage(self, target: Path) -> Usage:
        """Return the bytes and inodes of the filesystem mounted at `target`, as statvfs(3) gives
        them.
        """

    def holders(self, device: Device) -> tuple[str, ...]:
        """Return texts that name who has `device` or a filesystem on it open: processes, mounts of
        other namespaces, devices on top of it. Best effort; may take seconds.
        """

    def size(self, device: Device) -> Bytes:
        """Return the size of `device` in bytes."""

    def faults(self, device: Device) -> Iterator[Fault]:
        """Yield what is wrong with `device` and with the filesystem on it."""

    def fault_finder(self) -> FaultFinder:
        """Return what finds faults of many devices, with the mounts read once, at the first one.

        A fault that it finds may be over by then: ask `faults` before it is reported.
        """
