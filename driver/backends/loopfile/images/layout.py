"""The layout of a loop-file pool on disk: the folder of an image, and how it is created.

All paths are below the root that `PoolDirectory.open` returned. An image is created by one rename,
and deleted by another (see `delete_image`); a crash leaves only folders whose names `leftovers`
recognises and removes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from driver.backends import record
from driver.backends.loopfile.images import leftovers
from driver.backends.quiesce import mark_files
from driver.core import errnos
from driver.core.errors import Conflict, Damaged
from driver.core.failpoints import FailPoint, reach
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import ImageId, VolumeId
from driver.core.model import Bytes, Image
from driver.linux import files

RECORD: Final = "volume.json"
ATTACHED: Final = "attached.json"
FREEZING: Final = "freezing"
DISK: Final = leftovers.DISK


def building_name(name: ImageId | str) -> str:
    """Return the name of the temporary folder in which an image is created."""
    return f"{leftovers.NEW}{name}"


def folder(root: Path, image_id: ImageId) -> Path:
    """Return the path of an image's folder."""
    return Path(f"{root}/{image_id}")


def disk(root: Path, image_id: ImageId) -> Path:
    """Return the path of the file that has the bytes of an image."""
    return Path(f"{root}/{image_id}/{DISK}")


def allocated_bytes(root: int, name: str) -> Bytes:
    """Return the bytes allocated to an image that exists or is being created; 0 if there is no
    such image.

    `root`: an open file descriptor of the pool's directory.
    """
    for folder_name in (name, building_name(name)):
        try:
            return os.stat(f"{folder_name}/{DISK}", dir_fd=root).st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):
            pass
    return 0


def length(root: Path, name: str) -> Bytes:
    """Return the length of an image's file in bytes; 0 if it cannot be read."""
    try:
        return (root / name / DISK).lstat().st_size
    except OSError:
        return 0


def refuse_taken(root: Path, image_id: ImageId) -> None:
    """Raise Conflict if the image's folder exists."""
    if folder(root, image_id).exists():
        raise Conflict(f"{image_id} exists already, with a record that cannot be read")


def build(root: Path, image: Image, fill: Callable[[Path], None], *, begun: bool = False) -> None:
    """Create an image: make its file in a temporary folder, sync it, and rename the folder. The
    caller syncs `root`.

    `fill`: makes the file at the path that it is called with. `begun`: whether the temporary
    folder exists already. After an error the temporary folder is removed. Raises: what `fill`
    raises; OSError.
    """
    with _building_folder(root, image.id, begun=begun) as building:
        reach(FailPoint.CREATE_BUILDING)
        _fill_disk(building, fill)
        reach(FailPoint.CREATE_SYNCED)
        files.write_durably(building / RECORD, record.to_json(image))
        files.sync_directory(building)
        reach(FailPoint.CREATE_RECORDED)
        building.rename(folder(root, image.id))  # from here on it exists


def rebuild(root: Path, image: Image, fill: Callable[[Path], None]) -> None:
    """Replace the contents of an image that was never formatted, durably, and write its record.

    `fill`: makes the new file at the path that it is called with. After a crash before the record
    is written, the image still counts as never formatted, no pod has seen its contents, and the
    next call writes them anew. Raises: what `fill` raises; OSError.
    """
    image_folder = folder(root, image.id)
    with _building_folder(root, image.id) as building:
        reach(FailPoint.REPLACE_BUILDING)
        _fill_disk(building, fill)
        reach(FailPoint.REPLACE_SYNCED)
        (building / DISK).rename(image_folder / DISK)
        files.sync_directory(image_folder)
        reach(FailPoint.REPLACE_SWAPPED)
        files.write_durably(image_folder / RECORD, record.to_json(image))
        files.sync_directory(image_folder)  # from here on it is never formatted again
        reach(FailPoint.REPLACE_RECORDED)
        leftovers.clear(building)  # empty by now


@contextmanager
def _building_folder(root: Path, image_id: ImageId, *, begun: bool = False) -> Iterator[Path]:
    """Make the folder in which an image is made, unless that has `begun`, and give its path; remove
    it after an error.
    """
    building = root / building_name(image_id)
    with ExitStack() as undo:
        if not begun:
            leftovers.recreate_folder(building)
        undo.callback(leftovers.clear, building)
        yield building
        undo.pop_all()


def _fill_disk(building: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` make the file in the folder, and sync it."""
    fill(building / DISK)
    files.sync(building / DISK)  # btrfs loses a clone's bytes without it


def verified_image(root: Path, image: Image) -> Path:
    """Return the file of an image after checking that it exists and is not too short. Raises:
    Damaged if it is missing, or shorter than recorded; OSError if it cannot be examined.
    """
    verified_status(root, image)
    return disk(root, image.id)


def verified_status(root: Path, image: Image) -> os.stat_result:
    """Return the status of an image's file after checking that it exists and is not too short.

    Raises: Damaged if it is missing, or shorter than recorded; OSError if the file cannot be
    examined.
    """
    try:
        status = os.stat(disk(root, image.id))
    except OSError as error:
        raise Damaged(missing_file_fault(image, error).text) from error
    if status.st_size < image.size:
        raise Damaged(short_file_fault(image, status.st_size).text)
    return status


def mark_freezing(root: Path, volumes: Sequence[VolumeId]) -> AbstractContextManager[None]:
    """Durably mark volumes, for the duration of the `with` block, as possibly having frozen
    filesystems.
    """
    return mark_files([folder(root, volume) / FREEZING for volume in volumes])


def missing_file_fault(image: Image, error: OSError) -> Fault:
    """Return the fault for an image whose file is missing.

    `error`: the error of opening or examining the file. If `error` has another meaning than
    that the file is missing, it is raised.
    """
    if error.errno not in errnos.GONE:
        raise error
    text = f"{image.id}: its image is gone: {error.strerror}"
    return Fault(FaultKind.BACKING_FILE_GONE, text, Severity.DATA_LOSS)


def short_file_fault(image: Image, size: Bytes) -> Fault:
    """Return the fault for an image whose file has only `size` bytes."""
    text = f"{image.id}: its image has {size} bytes, {image.size} are recorded"
    return Fault(FaultKind.BACKING_FILE_SHORT, text, Severity.DATA_LOSS)
