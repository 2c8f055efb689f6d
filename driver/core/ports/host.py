"""The port to a machine's kernel: filesystems and mounts on devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from driver.core.devices import Device, Extent, MountPoint, Usage
from driver.core.faults import Fault
from driver.core.model import Bytes, FsType, Progress


class FaultFinder(Protocol):
    """Finds the faults of many devices and of the filesystems on them, e.g. IO errors."""

    def faults(self, device: Device) -> Iterator[Fault]:
        """Yield the faults of `device` and of the filesystem on it."""


class Host(Protocol):
    """The operations of this machine's kernel on devices, for any type of storage below them."""

    def lacks(self, fs: FsType) -> str | None:
        """Return why volumes with `fs` cannot be used on this machine; None: they can be used.
        Cheap enough to be called for each request.
        """

    # formats
    def mkfs(self, path: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        """Format `path` with `fs`. Only called inside `Backend.create`, on an image that was never
        visible as a volume, so that no volume's data is ever formatted over.

        `block_size`: of the volume's device, in bytes. `options`: arguments for mkfs. Raises:
        Invalid: mkfs refuses `options`, or the filesystem made with them cannot be mounted.
        """

    def new_uuid(self, path: Path, fs: FsType, *, block_size: Bytes) -> None:
        """Give the filesystem of a copy a new UUID, and verify it by reading it back. `block_size`:
        of the volume's device, in bytes. Raises: Refused: there is no `fs` on `path`; Failed.
        """

    def check(self, device: Device, fs: FsType) -> Bytes:
        """Verify that `device` has the filesystem `fs`, and repair what can be repaired safely.
        Returns how many bytes of the device are beyond the filesystem.

        Raises: Refused: the device has something else, or the filesystem is damaged; nothing
        was written.
        """

    def fit(self, device: Device, fs: FsType) -> None:
        """Grow an unmounted filesystem to its device, on machines whose kernel cannot grow it while
        mounted; no-op on other machines.

        Raises: Refused, Unusable, Failed: the filesystem did not grow, and is intact.
        """

    def copy(
        self, source: Path, target: Path, extents: Iterator[Extent], progress: Progress
    ) -> None:
        """Copy the bytes of `extents` from `source` to the same offsets in `target`; the rest of
        `target` is not written.

        `progress` is called with the number of bytes of each copied piece.
        """

    # mounts
    def mount(
        self, device: Device, target: Path, fs: FsType, options: Sequence[str], *, read_only: bool
    ) -> None:
        """Mount `device` at `target`, whose last component is created.

        Raises: Invalid: the kernel refuses an option; Unusable: the filesystem failed earlier and
        is still mounted elsewhere, or its log cannot be written for lack of space.
        """

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        """Bind-mount the directory `source` at `target`, which is created. Raises: Refused: the
        directory `target` contains files.
        """

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        """Bind-mount the device node at `target`, a file that is created.

        Raises: Refused: the device is bound at another target with the other `read_only`.
        """

    def mounted_at(self, target: Path) -> MountPoint | None:
        """Return the topmost mount at `target` itself; None: nothing is mounted there."""

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        """Return every mount of `device` in this mount namespace."""

    def volume_label(self, mount: MountPoint) -> str | None:
        """Return the id of the image on the device of `mount`; None: the kernel's data does not
        tell.
        """

    def thaw(self, target: Path) -> None:
        """Thaw the filesystem at `target`; no-op if it is not frozen. A frozen filesystem can be
        unmounted and stays frozen.
        """

    def unmount(self, target: Path) -> None:
        """Unmount all mounts at `target`, one above the other; no-op if there is none. Raises:
        Refused: a mount is in use; the text names the users.
        """

    def unmount_top(self, target: Path) -> None:
        """Unmount the topmost mount at `target`; no-op if there is none. Raises: Refused: the mount
        is in use; the text names the users.
        """

    def release(self, label: str, prepare: Callable[[Device], None]) -> None:
        """Detach the device of the image with the id `label`, whose pool is unavailable or does not
        know the device. No-op while the device is mounted. `prepare` is called with the device
        first.
        """

    def remove(self, target: Path) -> None:
        """Remove the empty directory or file `target` that was created as a mount point; no-op if
        `target` does not exist.

        Raises: Refused: something is mounted at `target`, or it is not empty.
        """

    # in use
    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        """Grow the mounted filesystem at `target` to its device; no-op if it fills the device
        already.

        Returns True if a power cut could damage the growth, so that the caller should write it to
        the disk with `Backend.quiesce`. Raises: Busy, Refused, Unusable, Failed: the filesystem has
        its old size; StillRunning: the kernel is still growing it.
        """

    def broken(self, mount: MountPoint, fs: FsType) -> str | None:
        """Return why the mounted filesystem does not work any more (shut down, or read-only after
        an error); None: it works.
        """

    def trim(self, mount: MountPoint, start: Bytes, length: Bytes, smallest: Bytes) -> Bytes:
        """Discard the free extents of at least `smallest` bytes between the bytes `start` and
        `start + length` of the mounted filesystem, and return how many bytes were discarded.
        Raises: OSError.
        """

    def usage(self, target: Path) -> Usage:
        """Return the bytes and inodes of the filesystem mounted at `target`, as statvfs(3) gives
        them.
        """

    def holders(self, device: Device) -> tuple[str, ...]:
        """Return texts that name the users of `device` or of a filesystem on it: processes, mounts
        in other namespaces, devices on top of it. Some users may be missing; the search may take
        seconds.
        """

    def size(self, device: Device) -> Bytes:
        """Return the size of `device` in bytes."""

    def faults(self, device: Device) -> Iterator[Fault]:
        """Yield the faults of `device` and of the filesystem on it."""

    def fault_finder(self) -> FaultFinder:
        """Return an object that finds the faults of many devices. It reads the mount table only
        once, when it examines the first device.

        The table may be outdated later: verify a fault by `Host.faults` before it is reported.
        """
