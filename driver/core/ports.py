"""The ports: what the use cases ask of a pool and of a machine. Contract suites hold each to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, overload, runtime_checkable

from driver.core.answers import Answers, Direct
from driver.core.ids import ImageId, PoolId, SnapshotId, VolumeId
from driver.core.model import (
    Allocation,
    Bytes,
    Capacity,
    Device,
    Extent,
    Fault,
    FsType,
    Image,
    MountPoint,
    PhysicalExtent,
    PoolState,
    Prepare,
    Progress,
    Snapshot,
    Unreadable,
    Usage,
    Volume,
)


class Backend(Protocol):
    """The images of one pool. Blunt, not idempotent: what a repeat means is the use cases' job.

    Any method may raise PoolUnavailable, and OSError when the machine fails.
    """

    @property
    def id(self) -> PoolId:
        """Return the id that the pool's marker has."""

    @property
    def granularity(self) -> Bytes:
        """Return the number of bytes of which every volume's size is a multiple."""

    @property
    def allocation(self) -> Allocation:
        """Return the allocation of a volume whose class names none."""

    def block_size(self, fs: FsType | None) -> Bytes:
        """Return the logical block size, in bytes, for a new volume with `fs` (None: raw block)."""

    def state(self) -> PoolState:
        """Return what `cellar pools` shows of the pool. Never raises PoolUnavailable."""

    def close(self) -> None:
        """Release the pool's lock, so that another process may serve it. No other method may be
        called afterwards.
        """

    # at rest
    def capacity(self, allocation: Allocation) -> Capacity:
        """Return what can be promised to volumes of `allocation` now (promise 6)."""

    # None: there is none. Damaged: there is one, and its record cannot be trusted. Every other
    # method that is told of such an image raises it too, but for `attached` and `detach`.
    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def images(self) -> Iterator[Image]:
        """Yield all volumes and snapshots in the order of their ids, without those that `damaged`
        returns.
        """

    def damaged(self) -> Sequence[Unreadable]:
        """Return the images whose record cannot be trusted, in the order of their ids. Their space
        stays charged.
        """

    def known(self) -> Sequence[Image | Unreadable]:
        """Return all images, damaged ones too, as they were last read. Does not read the pool, so
        it never waits for a disk.
        """

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        """Remove the publication of a volume with a damaged record.

        `node`: only if it is published to this node; None: in any case.
        """

    def shares(self, source: ImageId) -> bool:
        """Return whether an image created from `source` shares its bytes (reflink, thin). If not,
        `prepare` has to copy them.
        """

    def create(self, image: Image, prepare: Prepare) -> None:
        """Create an image durably, all or nothing.

        `prepare` is called with the path of the new image before anybody else can see it; if it
        raises, nothing is left.

        Raises: NoSpace; NotFound: the source does not exist; Conflict: an image has this id, and
        was not changed.
        """

    def record(self, volume: Volume) -> None:
        """Replace the record of a volume of the same incarnation. Durable, except for `published`.

        Raises: NotFound: the volume does not exist, or was deleted and created again.
        """

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        """Grow the image to `size` bytes, and its device if it is attached. Returns the volume as
        recorded.

        Also brings the image up to a size that the record already has. Raises: OutOfRange: there is
        no room, and nothing was changed.
        """

    def delete(self, image_id: ImageId) -> None:
        """Delete an image durably. Raises: Refused: it is attached; NotFound."""

    # as a device
    def attach(self, image: Volume, *, read_only: bool) -> Device:
        """Attach an image to a block device, with the block size and discard policy of its record.
        Returns the present device if it has one.
        """

    def attached(self, image_id: ImageId) -> Device | None:
        """Return the device to which the image is attached, or None."""

    def detach(self, image_id: ImageId) -> None:
        """Detach the image from its device; no-op if it is not attached. Raises: Refused: something
        has the device open.
        """

    # while written to
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> AbstractContextManager[None]:
        """Freeze the filesystems on `volumes` and flush them; they are thawed on exit.

        `bound`: seconds after which they are thawed in any case. Raises: Busy, on exit, if they
        were thawed early, so that nothing read meanwhile is of one moment.
        """

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        """Provide a path from which the bytes of the image can be read; it cannot be deleted
        meanwhile. Raises: NotFound.
        """

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        """Yield the written extents of the image in order, without holes and unwritten space.
        Raises: NotFound.
        """

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        """Yield what is wrong with an image, or with the pool itself (None). Never raises
        PoolUnavailable: that is a fault.
        """


@runtime_checkable
class FormatsLater(Protocol):
    """A backend whose volumes can be encrypted."""

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        """Write new contents beside the old ones and swap them in, with a record that says
        `formatted`.

        A crash leaves either the old state or the new one. Raises: Refused: the volume was
        formatted before, or is attached; nothing was changed.
        """


@runtime_checkable
class EstimatesUsage(Protocol):
    """A backend whose `extents` may have to read all of an image."""

    def written_bytes(self, image_id: ImageId) -> Bytes:
        """Return an upper bound of the bytes written to the image, without reading it."""


@runtime_checkable
class TakesCopySnapshots(Protocol):
    """A backend that can show one moment of a volume while its writers go on."""

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        """Freeze a view of `volumes` for the calling thread: inside, `reading` and `extents` show
        this moment. Raises: NoSpace.
        """


@runtime_checkable
class MapsPhysicalExtents(Protocol):
    """A backend that knows where bytes lie, so that images can be compared without being read."""

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        """Return at most `most` written extents that end after byte `start`, in order and without
        overlaps.

        The first may begin before `start`, and the last may end after the image. Fewer than `most`:
        there are no more. Extents of two snapshots at the same address at the same time hold the
        same bytes. Raises: NotFound.
        """


@runtime_checkable
class NeedsMaintenance(Protocol):
    """A backend that wants to be looked after now and then."""

    def maintain(self) -> None:
        """Extend a thin pool that fills up, and the like; called periodically. No-op if the pool is
        unavailable. Raises: CommandError.
        """


@runtime_checkable
class TriesWriting(Protocol):
    """A backend that can be tried: its disk may still be read when nothing can be written."""

    def try_writing(self) -> None:
        """Write something small durably; returns also if that fails for another reason than the
        disk. Raises: PoolUnavailable.
        """


class Host(Protocol):
    """What this machine's kernel does with a device, whatever lies below it."""

    def lacks(self, fs: FsType) -> str:
        """Return why no volume with `fs` can be used on this machine, or "". Cheap: it is asked for
        each call.
        """

    # contents
    def mkfs(self, where: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        """Format `where` with `fs`; `options` are words for mkfs. Only called inside
        `Backend.create`, on an image that nobody has seen (promise 1).

        Raises: Invalid: mkfs refuses `options`, or what they make cannot be mounted.
        """

    def new_uuid(self, where: Path, fs: FsType, *, block_size: Bytes) -> None:
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

    def copy(self, source: Path, to: Path, extents: Iterator[Extent], seen: Progress) -> None:
        """Copy the bytes of `extents` from `source` to the same places in `to`; holes stay holes.
        `seen` is called with the number of bytes of each piece.
        """

    # places
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

    def volume_label(self, place: MountPoint) -> str:
        """Return the id of the image that is shown at `place`, or "" if the kernel cannot tell."""

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

    def release(self, label: str) -> None:
        """Detach the device of the image with the id `label`, whose pool is unavailable or cannot
        tell. No-op while a mount shows it.
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

    def broken(self, place: MountPoint, fs: FsType) -> str:
        """Return why the filesystem at `place` does not work any more (shut down, turned read-
        only), or "".
        """

    def usage(self, target: Path) -> Usage:
        """Return the bytes and inodes of the filesystem mounted at `target`, as statvfs(3) gives
        them.
        """

    def size(self, device: Device) -> Bytes:
        """Return the size of `device` in bytes."""

    def faults(self, device: Device) -> Iterator[Fault]:
        """Yield what is wrong with `device` and with the filesystem on it."""


class Crypt(Protocol):
    """LUKS2 between a pool's device and what is on it. `name` is the volume's id.

    No secret is ever in an argument, an error, or a log.
    """

    def lacks(self) -> str:
        """Return why this machine cannot encrypt, or "". Cheap: it is asked for each call."""

    def format_and_open(
        self, where: Path, secret: bytes, *, block_size: Bytes, zeros: bool
    ) -> AbstractContextManager[Path]:
        """Format `where`, a file or a device node, as LUKS2, and provide the path of the opened
        container; it is closed on exit.

        `zeros`: whether all of it must read as zeros; else what was never written reads as noise.
        """

    def new_uuid(self, where: Path) -> None:
        """Give the container of a copy a new UUID and verify it. Raises: Refused: there is no
        container.
        """

    def open(self, below: Device, name: str, secret: bytes, *, discards: bool) -> Device:
        """Open the container on `below`; returns the present device if it is open.

        Raises: Invalid: wrong passphrase; Refused: there is no container, or another one has this
        name.
        """

    def opened(self, name: str, below: Device | None) -> Device | None:
        """Return the device of the open container, or None if it is not open, or is open on another
        device than `below`.
        """

    def resize(self, name: str, secret: bytes) -> None:
        """Grow the open container to the end of its device. Raises: Invalid: wrong passphrase."""

    def close(self, name: str) -> None:
        """Close the container; no-op if it is not open. Raises: Refused: it is in use."""

    def erase(self, below: Device) -> None:
        """Destroy all key slots, so that no passphrase opens the container any more; no-op if there
        is none.
        """


class Records(Protocol):
    """Small flat records by key that a node keeps outside of its pools.

    No method raises because of the disk below, or waits for it longer than a moment: what cannot be
    written is known to this process only, and what cannot be read is not there.
    """

    @property
    def problem(self) -> str:
        """Why records could not be read or written; empty: they were."""

    def get(self, key: str) -> Mapping[str, str] | None:
        """Return the record of `key`, or None."""

    def items(self) -> Mapping[str, Mapping[str, str]]:
        """A copy of all records, by key."""

    def write(self, key: str, record: Mapping[str, str]) -> None:
        """Write or replace it; it is on the disk when this returns, unless there is a `problem`."""

    def remove(self, key: str) -> None:
        """No-op if there is none. Does not wait for the disk."""

    def settle(self) -> bool:
        """Wait a moment until everything is on the disk. Returns False if it is not."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a driver knows of its node that no pool can tell.

    `places`: what is shown at a staging or target path, by that path; records of an earlier boot
    are gone. `pools`: what was found at a configured place, by that place; durable.
    """

    mount_records: Records
    pools: Records


@dataclass(frozen=True, slots=True)
class Pool:
    """A configured pool: where images are, and the machine that shows them."""

    name: str
    backend: Backend
    host: Host
    crypt: Crypt | None = None  # None: its volumes cannot be encrypted
    type: str = ""
    where: str = ""
    answers: Answers = field(default_factory=Direct)
