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
    def id(self) -> PoolId: ...
    @property
    def granularity(self) -> Bytes: ...
    @property
    def allocation(self) -> Allocation:
        """What a volume gets that does not ask for one."""

    def block_size(self, fs: FsType | None) -> Bytes:
        """The logical block size that a new volume should have."""

    def state(self) -> PoolState:
        """For people; never raises PoolUnavailable."""

    def close(self) -> None:
        """Give the pool back: another process may have it from here on."""

    # at rest
    def capacity(self, allocation: Allocation) -> Capacity: ...
    # None: there is none. Damaged: there is one, and its record cannot be trusted. Every other
    # method that is told of such an image raises it too, but for `attached` and `detach`.
    @overload
    def find(self, image_id: VolumeId) -> Volume | None: ...
    @overload
    def find(self, image_id: SnapshotId) -> Snapshot | None: ...
    def images(self) -> Iterator[Image]:
        """All that exist, in the order of their ids, but for those that are `damaged`."""

    def damaged(self) -> Sequence[Unreadable]:
        """Images whose record cannot be trusted, in the order of their ids. Their room is taken."""

    def known(self) -> Sequence[Image | Unreadable]:
        """Both as they were last read: the pool itself is not asked, and need not answer."""

    def withdraw(self, volume_id: VolumeId, node: str | None) -> None:
        """Forget that it is published to `node` (None: to any), though its record is damaged."""

    def shares(self, source: ImageId) -> bool:
        """`create` from it shares its bytes (reflink, thin); else it is blank, `prepare` copies."""

    def create(self, image: Image, prepare: Prepare) -> None:
        """All or nothing, durable; `prepare` has it before anyone sees it. NoSpace, NotFound.

        What is there already under that id: Conflict, and nothing is touched.
        """

    def record(self, volume: Volume) -> None:
        """Replace the record of the same incarnation. Durable, but for `published`. NotFound."""

    def resize(self, volume: Volume, size: Bytes) -> Volume:
        """Grow; the attached device too, whether or not the record says `size` already.

        OutOfRange: nothing was written.
        """

    def delete(self, image_id: ImageId) -> None:
        """Durable. Refused while attached; NotFound."""

    # as a device
    def attach(self, image: Volume, *, read_only: bool) -> Device:
        """The same device if it has one; its block size and discard policy are those recorded."""

    def attached(self, image_id: ImageId) -> Device | None: ...
    def detach(self, image_id: ImageId) -> None:
        """Content when there is none. Refused while anything holds the device."""

    # while written to
    def quiesce(self, volumes: Sequence[VolumeId], bound: float) -> AbstractContextManager[None]:
        """Writes stand still and are on the medium. Busy on exit if `bound` seconds were passed."""

    def reading(self, image_id: ImageId) -> AbstractContextManager[Path]:
        """A path to read its bytes from while inside; it cannot be deleted meanwhile. NotFound."""

    def extents(self, image_id: ImageId) -> Iterator[Extent]:
        """What is written, in order, without holes and unwritten space. NotFound."""

    def faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        """What is wrong with an image, or (None) with the pool.

        Never raises PoolUnavailable: it tells.
        """


@runtime_checkable
class FormatsLater(Protocol):
    """A backend whose volumes can be encrypted."""

    def replace_contents(self, volume: Volume, prepare: Prepare) -> Volume:
        """New contents beside, swapped in with the record, which says `formatted` from then on.

        Refused, and nothing touched, if it ever was formatted, or is attached. A crash at any
        instant leaves it as it was, or done.
        """


@runtime_checkable
class EstimatesUsage(Protocol):
    """A backend whose `extents` may have to read all of an image."""

    def written_bytes(self, image_id: ImageId) -> Bytes:
        """At most so many bytes of it are written; told at once."""


@runtime_checkable
class TakesCopySnapshots(Protocol):
    """A backend that can show one moment of a volume while its writers go on."""

    def copy_snapshot(self, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
        """Inside, `reading` and `extents` show them to this thread as they are now. NoSpace."""


@runtime_checkable
class MapsPhysicalExtents(Protocol):
    """A backend that knows where bytes lie, so that images can be compared without being read."""

    def physical_extents(
        self, image_id: SnapshotId, start: Bytes, most: int
    ) -> Sequence[PhysicalExtent]:
        """What is written and ends behind `start`, in order, without overlaps; it may begin before
        `start`, and end behind the image. Fewer than `most`: there are no more. NotFound.

        What two snapshots have at one place at one time are the same bytes.
        """


@runtime_checkable
class NeedsMaintenance(Protocol):
    """A backend that wants to be looked after now and then."""

    def maintain(self) -> None:
        """Its writers should find room. Content if the pool is away. CommandError."""


@runtime_checkable
class TriesWriting(Protocol):
    """A backend that can be tried: its disk may still be read when nothing can be written."""

    def try_writing(self) -> None:
        """Return once something very small was written durably, or could not be.

        PoolUnavailable.
        """


class Host(Protocol):
    """What this machine's kernel does with a device, whatever lies below it."""

    def lacks(self, fs: FsType) -> str:
        """Why no volume with `fs` can be used on this machine; "" if one can. Asked often."""

    # contents
    def mkfs(self, where: Path, fs: FsType, *, block_size: Bytes, options: Sequence[str]) -> None:
        """Mkfs. Only ever called inside `Backend.create`, on an image that nobody has seen."""

    def new_uuid(self, where: Path, fs: FsType, *, block_size: Bytes) -> None:
        """Give a copy its own UUID, and prove it by reading back."""

    def check(self, device: Device, fs: FsType) -> None:
        """Prove that it carries `fs`; repair what is safe. Refused, nothing written, otherwise."""

    def fit(self, device: Device, fs: FsType) -> None:
        """Grow it while it is mounted nowhere, on a machine that cannot do so later.

        Content elsewhere. Refused, Unusable, Failed: it has its old size, and is whole.
        """

    def copy(self, source: Path, to: Path, extents: Iterator[Extent], seen: Progress) -> None:
        """Only what `extents` names; holes stay holes."""

    # places
    def mount(
        self, device: Device, target: Path, fs: FsType, options: Sequence[str], *, read_only: bool
    ) -> None:
        """Makes the last component of `target`. Invalid: an option that the kernel refuses.

        Unusable: it gives nothing, because it broke before, and is mounted elsewhere; or it must
        be written to, and there is no space for that.
        """

    def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        """Makes the last component of `target`, a directory. Refused: there are files in it."""

    def bind_device(self, device: Device, target: Path, *, read_only: bool) -> None:
        """The device node at `target`, a file. Refused if others have it the other way."""

    def mounted_at(self, target: Path) -> MountPoint | None:
        """What the topmost mount exactly at `target` shows; None: not a mount point."""

    def mount_points(self, device: Device) -> tuple[MountPoint, ...]:
        """Every place in this mount namespace that shows the device."""

    def volume_label(self, place: MountPoint) -> str:
        """The id of the image that is shown there, as far as the kernel can tell; else ""."""

    def thaw(self, target: Path) -> None:
        """A frozen filesystem can be unmounted and stays frozen. Content if it is not."""

    def unmount(self, target: Path) -> None:
        """Every layer. Content if there is none. Refused, naming the holders, while busy."""

    def unmount_top(self, target: Path) -> None:
        """The topmost layer. Content if there is none. Refused, naming the holders, while busy."""

    def release(self, label: str) -> None:
        """Let go of the device of the image of that id, whose pool is away or cannot tell.

        Content if something shows it.
        """

    def remove(self, target: Path) -> None:
        """Remove an empty directory or file, as it was made for a mount. Content if it is not
        there. Refused: it is something else, or a mount point.
        """

    # in use
    def grow(self, device: Device, target: Path, fs: FsType) -> bool:
        """Online, to the size of the device; content if it fills it already.

        True: `Backend.hold` should write it out, or a power cut may leave what does not mount.
        Busy, Refused, Unusable, Failed: it has its old size. StillRunning.
        """

    def broken(self, place: MountPoint, fs: FsType) -> str:
        """Why the filesystem shown there gives or takes nothing any more; "" while it does."""

    def usage(self, target: Path) -> Usage: ...
    def size(self, device: Device) -> Bytes: ...
    def faults(self, device: Device) -> Iterator[Fault]: ...


class Crypt(Protocol):
    """LUKS2 between a pool's device and what is on it. `name` is the volume's id.

    No secret is ever in an argument, an error, or a log.
    """

    def lacks(self) -> str:
        """Why this machine cannot encrypt; "" if it can. Asked often."""

    def format_and_open(
        self, where: Path, secret: bytes, *, block_size: Bytes, zeros: bool
    ) -> AbstractContextManager[Path]:
        """Format `where`, a file or a node, and give what is inside, for `make`; closed on exit.

        `zeros`: all of the inside reads so; else what was never written reads as noise.
        """

    def new_uuid(self, where: Path) -> None:
        """Give the container of a copy its own UUID, and prove it. Refused: there is none."""

    def open(self, below: Device, name: str, secret: bytes, *, discards: bool) -> Device:
        """The same device if it is open. Invalid: wrong passphrase.

        Refused: no container, or something else has that name.
        """

    def opened(self, name: str, below: Device | None) -> Device | None:
        """None: not open, or, if `below` is known, not on it."""

    def resize(self, name: str, secret: bytes) -> None:
        """To the end of the device below. Invalid: wrong passphrase."""

    def close(self, name: str) -> None:
        """Content if it is not open. Refused while in use."""

    def erase(self, below: Device) -> None:
        """No passphrase opens it any more. Content if there is no container."""


class Records(Protocol):
    """Small flat records by key that a node keeps outside of its pools.

    No method raises because of the disk below, or waits for it longer than a moment: what cannot be
    written is known to this process only, and what cannot be read is not there.
    """

    @property
    def problem(self) -> str:
        """Why records could not be read or written; empty: they were."""

    def get(self, key: str) -> Mapping[str, str] | None: ...
    def items(self) -> Mapping[str, Mapping[str, str]]:
        """A copy of all records, by key."""

    def write(self, key: str, record: Mapping[str, str]) -> None:
        """Write or replace it; it is on the disk when this returns, unless there is a `problem`."""

    def remove(self, key: str) -> None:
        """No-op if there is none. Does not wait for the disk."""

    def settle(self) -> bool:
        """Wait a moment until the disk has all that was said. False: it has not."""


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
