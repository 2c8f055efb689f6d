"""The layout of a loop-file pool on disk: how an image's folder is made, read and removed.

Paths here are below a root that `PoolDirectory.open` gave. One rename is the instant at which an
image begins to exist, another that at which it stops; a crash leaves only names that `leftovers`
removes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from loguru import logger

from driver.backends import record
from driver.backends.loopfile.images import leftovers
from driver.backends.quiesce import mark_files
from driver.core import errnos
from driver.core.errors import CellarError, Conflict, Damaged
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import ImageId, VolumeId
from driver.core.model import MIB, Bytes, Image, Publication, Unreadable, Volume
from driver.linux import files

RECORD: Final = "volume.json"
ATTACHED: Final = "attached.json"
FREEZING: Final = "freezing"
DISK: Final = leftovers.DISK
_RECORD_MOST: Final = MIB  # bytes of a record; what is larger is none
# Of this process, not of a record: the pool is looked at again later.
_PASSING: Final = errnos.EXHAUSTED | {errno.EINTR}
_ID: Final = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}", re.ASCII)


def building_name(name: ImageId | str) -> str:
    """Return the name of the folder in which an image is made."""
    return f"{leftovers.NEW}{name}"


def folder(root: Path, image_id: ImageId) -> Path:
    """Return the folder of an image."""
    return root / str(image_id)


def disk(root: Path, image_id: ImageId) -> Path:
    """Return the file with the bytes of an image."""
    return root / str(image_id) / DISK


def allocated_bytes(root: int, name: str) -> Bytes:
    """Return the bytes allocated to an image that exists or is being made; 0 if there is none.

    `root`: an open descriptor of the pool's directory.
    """
    for folder_name in (name, building_name(name)):
        with suppress(FileNotFoundError, NotADirectoryError):
            return os.stat(f"{folder_name}/{DISK}", dir_fd=root).st_blocks * 512
    return 0


def length(root: Path, name: str) -> Bytes:
    """Return the length of an image's file in bytes; 0 if it cannot be read."""
    try:
        return (root / name / DISK).lstat().st_size
    except OSError:
        return 0


def refuse_taken(root: Path, image_id: ImageId) -> None:
    """Raise Conflict if the image has a folder already."""
    if folder(root, image_id).exists():
        raise Conflict(f"{image_id} is there already, with a record that cannot be trusted")


def build(root: Path, image: Image, fill: Callable[[Path], None]) -> None:
    """Make an image in a folder of its own, sync it, and rename it; the caller syncs `root`.

    `fill` makes the file at the path that it is given. If anything fails, the folder is
    removed. Raises: what `fill` raises; OSError.
    """
    building = root / building_name(image.id)
    with ExitStack() as undo:
        leftovers.clear(building)  # left behind by a crash
        building.mkdir(mode=0o700)
        undo.callback(leftovers.clear, building)
        reach(FailPoint.CREATE_BUILDING)
        fill(building / DISK)
        files.sync(building / DISK)  # btrfs loses a clone's bytes without it
        reach(FailPoint.CREATE_SYNCED)
        files.write_durably(building / RECORD, record.to_json(image))
        files.sync_directory(building)
        reach(FailPoint.CREATE_RECORDED)
        building.rename(folder(root, image.id))  # from here on it exists
        undo.pop_all()


def rebuild(root: Path, image: Image, fill: Callable[[Path], None]) -> None:
    """Replace the contents of an image that was never formatted, durably, and write its record.

    The new record is the instant. Until it says `formatted`, nobody has seen the contents, and
    they are made again. Raises: what `fill` raises; OSError.
    """
    building, image_folder = root / building_name(image.id), folder(root, image.id)
    with ExitStack() as undo:
        leftovers.clear(building)  # left behind by a crash
        building.mkdir(mode=0o700)
        undo.callback(leftovers.clear, building)
        reach(FailPoint.REPLACE_BUILDING)
        fill(building / DISK)
        files.sync(building / DISK)
        reach(FailPoint.REPLACE_SYNCED)
        (building / DISK).rename(image_folder / DISK)
        files.sync_directory(image_folder)
        reach(FailPoint.REPLACE_SWAPPED)
        files.write_durably(image_folder / RECORD, record.to_json(image))
        files.sync_directory(image_folder)  # from here on it is never formatted again
        reach(FailPoint.REPLACE_RECORDED)


def write_record(root: Path, image: Image) -> None:
    """Replace the record of an image, durably. Raises: OSError."""
    image_folder = folder(root, image.id)
    files.write_durably(image_folder / RECORD, record.to_json(image))
    reach(FailPoint.RECORD_RENAMED)
    files.sync_directory(image_folder)


def write_publication(root: Path, volume: Volume) -> None:
    """Not synced: the VolumeAttachment in etcd is the durable record."""
    path = folder(root, volume.id) / ATTACHED
    if volume.published:
        files.write_beside(path, record.publication_to_json(volume.published))
    else:
        path.unlink(missing_ok=True)


def mark_deleted(root: Path, image: Image) -> Path:
    """Rename the folder of an image, with which it ceases to exist, and return its new path.

    The caller syncs `root`, then removes the folder. It is no error if the folder is gone.
    Raises: OSError.
    """
    deleted_folder = root / f"{leftovers.DEL}{image.id}-{image.incarnation}"
    with suppress(FileNotFoundError):
        try:
            folder(root, image.id).rename(deleted_folder)
        except OSError as error:
            if error.errno not in errnos.FULL:
                raise
            # A full btrfs may have no room for a rename, but for giving room back it has.
            os.truncate(disk(root, image.id), 0)
            folder(root, image.id).rename(deleted_folder)
    reach(FailPoint.DELETE_RENAMED)
    return deleted_folder


def verified_image(root: Path, image: Image) -> Path:
    """Return the file of an image.

    Raises: Damaged if it is gone, or shorter than recorded; OSError if that cannot be told.
    """
    path = disk(root, image.id)
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise Damaged(fault_of_file(image, error).text) from error
    if size < image.size:
        raise Damaged(fault_of_size(image, size).text)
    return path


def mark_freezing(root: Path, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
    """Keep the durable mark that the filesystems of the volumes may be left frozen."""
    return mark_files([folder(root, volume) / FREEZING for volume in volumes])


def fault_of_file(image: Image, error: OSError) -> Fault:
    """Return the fault of an image whose file is gone.

    Raises: `error`, if it says something else: the image may be as it was.
    """
    if error.errno not in errnos.GONE:
        raise error
    text = f"{image.id}: its image is gone: {error.strerror}"
    return Fault(FaultKind.BACKING_FILE_GONE, text, Severity.DATA_LOSS)


def fault_of_size(image: Image, size: Bytes) -> Fault:
    """Return the fault of an image whose file has only `size` bytes."""
    text = f"{image.id}: its image has {size} bytes, {image.size} are recorded"
    return Fault(FaultKind.BACKING_FILE_SHORT, text, Severity.DATA_LOSS)


Folders: TypeAlias = Mapping[str, frozenset[str]]


def list_folders(root: Path) -> Folders:
    """Return the names of the files in the folder of each image, by the name of the folder.

    A folder that cannot be listed counts as one that has all files that an image can have.
    Raises: OSError if `root` cannot be listed.
    """
    return {name: _files_in(f"{root}/{name}") for name in os.listdir(root) if _ID.fullmatch(name)}


def _files_in(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))
    except OSError:
        return frozenset({DISK, RECORD, ATTACHED, FREEZING})


def load(root: Path, folders: Folders) -> tuple[list[Image], dict[str, Unreadable]]:
    """Return all images in `folders`, and those whose record cannot be trusted, by folder name.

    Raises: OSError if the process lacks the means to read them, such as descriptors.
    """
    images: list[Image] = []
    damaged: dict[str, Unreadable] = {}
    for name, file_names in folders.items():
        image = read(root, name, attached=ATTACHED in file_names)
        if isinstance(image, Unreadable):
            logger.error("left alone: {}", image.why)
            damaged[name] = image
        elif image:
            images.append(image)
    return images, damaged


def read(root: Path, name: str, *, attached: bool = True) -> Image | Unreadable | None:
    """Return the image in the folder `name`, or None if there is no such folder.

    `attached`: whether there may be a record that it is published. Raises: OSError as `load`.
    """
    image_folder, text = f"{root}/{name}", b""
    try:
        text = _text(f"{image_folder}/{RECORD}")
        image = record.from_json(text)
        if str(image.id) != name:
            raise Damaged(f"the record speaks of {image.id}")
    except (CellarError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        if not os.path.lexists(image_folder):
            return None
        return record.unreadable(name, text, error, length(root, name))
    if isinstance(image, Volume) and attached and (published := _published(root / name)):
        return replace(image, published=published)
    return image


def withdraw(root: Path, volume_id: ImageId, node: str | None) -> None:
    """Remove the record that a volume is published to `node` (None: to any), or that cannot be
    read.

    Not synced, as it was not when it was written.
    """
    image_folder = folder(root, volume_id)
    published = _published(image_folder)
    if published is None or node in {None, published.node}:
        with suppress(FileNotFoundError, IsADirectoryError):
            (image_folder / ATTACHED).unlink()


def _published(image_folder: Path) -> Publication | None:
    """Return to which node a volume is published; None also if the record cannot be read.

    etcd has the attachment, and the external-attacher calls ControllerPublishVolume again.
    """
    try:
        return record.publication_from_json(_text(f"{image_folder}/{ATTACHED}"))
    except (Damaged, OSError):
        return None


def _text(path: str) -> bytes:
    """Return the contents of a small regular file. Never waits, as on a pipe, and follows no link.

    Raises: Damaged if it is not regular, or too large; OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(f"{os.path.basename(path)} is no regular file")
        if status.st_size > _RECORD_MOST:
            raise Damaged(f"{os.path.basename(path)} has {status.st_size} bytes")
        return os.read(fd, _RECORD_MOST)
    finally:
        os.close(fd)
