"""The layout of a loop-file pool on disk: how an image's folder is made, read and removed.

Paths here are below a root that `PoolRoot.open` gave. One rename is the instant at which an image
begins to exist, another that at which it stops; a crash leaves only names that `sweep` removes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from loguru import logger

from driver.backends import record
from driver.core.errors import CellarError, Conflict, Damaged
from driver.core.failpoints import reach, reach_encrypted
from driver.core.ids import ImageId
from driver.core.model import Bytes, Fault, Image, Volume
from driver.linux import crypt, files, filesystem

DISK: Final = "disk.img"
RECORD: Final = "volume.json"
ATTACHED: Final = "attached.json"
FREEZING: Final = "freezing"
_NEW: Final = ".new-"
_DEL: Final = ".del-"
_ID: Final = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}", re.ASCII)


def folder(root: Path, image_id: ImageId) -> Path:
    return root / str(image_id)


def disk(root: Path, image_id: ImageId) -> Path:
    return root / str(image_id) / DISK


def occupied(root: Path, name: str) -> Bytes:
    """Bytes allocated to an image that exists or is being made; 0 for none."""
    for place in (root / name, root / f"{_NEW}{name}"):
        with suppress(FileNotFoundError):
            return (place / DISK).stat().st_blocks * 512
    return 0


def refuse_taken(root: Path, image_id: ImageId) -> None:
    if folder(root, image_id).exists():
        raise Conflict(f"{image_id} is there already, with a record that cannot be trusted")


def build(root: Path, image: Image, fill: Callable[[Path], None]) -> None:
    """Make it beside, sync it, rename it; the caller syncs the root."""
    building = root / f"{_NEW}{image.id}"
    with ExitStack() as undo:
        clear(building)  # left behind by a crash
        building.mkdir(mode=0o700)
        undo.callback(clear, building)
        reach("create.building")
        fill(building / DISK)
        files.sync(building / DISK)  # btrfs loses a clone's bytes without it
        reach("create.synced")
        files.write_durably(building / RECORD, record.to_json(image))
        files.sync_directory(building)
        reach("create.recorded")
        building.rename(folder(root, image.id))  # from here on it exists
        undo.pop_all()


def rebuild(root: Path, image: Image, fill: Callable[[Path], None]) -> None:
    """New contents for what was never formatted: beside, synced, and then in its place.

    The record is the instant. Until it says `formatted`, whatever lies in the image was seen by
    nobody, and is made again.
    """
    building, place = root / f"{_NEW}{image.id}", folder(root, image.id)
    with ExitStack() as undo:
        clear(building)  # left behind by a crash
        building.mkdir(mode=0o700)
        undo.callback(clear, building)
        reach_encrypted("refill.building")
        fill(building / DISK)
        files.sync(building / DISK)
        reach_encrypted("refill.synced")
        (building / DISK).rename(place / DISK)
        files.sync_directory(place)
        reach_encrypted("refill.swapped")
        files.write_durably(place / RECORD, record.to_json(image))
        files.sync_directory(place)  # from here on it is never formatted again
        reach_encrypted("refill.recorded")


def write_record(root: Path, image: Image) -> None:
    place = folder(root, image.id)
    files.write_durably(place / RECORD, record.to_json(image))
    reach("record.renamed")
    files.sync_directory(place)


def write_publication(root: Path, volume: Volume) -> None:
    """Not synced: the VolumeAttachment in etcd is the durable record."""
    place = folder(root, volume.id) / ATTACHED
    if volume.published:
        files.write_beside(place, record.publication_to_json(volume.published))
    else:
        place.unlink(missing_ok=True)


def bury(root: Path, image: Image) -> Path:
    """From the rename on it does not exist; the caller syncs the root, then clears the grave."""
    grave = root / f"{_DEL}{image.id}-{image.incarnation}"
    folder(root, image.id).rename(grave)
    reach("delete.renamed")
    return grave


def clear(grave: Path) -> None:
    """What is under a `.new-` or `.del-` name. Never follows a link (shutil.rmtree refuses to).

    Truncated first: xfs and btrfs give back the space of an unlinked file some time later only.
    """
    with suppress(FileNotFoundError):
        os.truncate(grave / DISK, 0)
    with suppress(FileNotFoundError):
        shutil.rmtree(grave)


def whole(root: Path, image: Image) -> Path:
    """The image's file. Damaged: it is gone, or shorter than recorded."""
    for fault in faults(root, image):
        raise Damaged(fault.text)
    return disk(root, image.id)


def faults(root: Path, image: Image) -> Iterator[Fault]:
    try:
        size = disk(root, image.id).stat().st_size
    except OSError as error:
        yield Fault(
            "BackingFileGone", f"{image.id}: its image is gone: {error.strerror}", "data_loss"
        )
        return
    if size < image.size:
        text = f"{image.id}: its image has {size} bytes, {image.size} are recorded"
        yield Fault("BackingFileShort", text, "data_loss")


def sweep(root: Path) -> None:
    """Remove what a crash left half made or half removed. Only under the pool's lock."""
    for name in os.listdir(root):
        if not name.startswith((_NEW, _DEL)):
            continue
        try:
            with suppress(FileNotFoundError):
                crypt.abandon(root / name / DISK)
                filesystem.abandon(root / name / DISK)
            clear(root / name)
            logger.info("swept {}, left by a call that did not end", name)
        except (CellarError, OSError) as error:
            logger.error("{} stays, it cannot be removed: {}", name, error)


def load(root: Path) -> tuple[list[Image], dict[str, str]]:
    """All images whose record can be trusted, and why for those whose cannot, by folder name."""
    found: list[Image] = []
    damaged: dict[str, str] = {}
    for name in filter(_ID.fullmatch, os.listdir(root)):
        try:
            found.append(_read(root / name))
        except (CellarError, OSError) as error:
            logger.error("{} is left alone: {}", name, error)
            damaged[name] = str(error)
    return found, damaged


def _read(place: Path) -> Image:
    image = record.from_json((place / RECORD).read_bytes())
    if str(image.id) != place.name:
        raise Damaged(f"the record speaks of {image.id}")
    if isinstance(image, Volume):
        with suppress(FileNotFoundError):
            text = (place / ATTACHED).read_bytes()
            return replace(image, published=record.publication_from_json(text))
    return image
