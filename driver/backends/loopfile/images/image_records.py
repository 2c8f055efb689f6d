"""Reads and writes the records of the images in a pool of loop files, and finds the damaged
ones.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from loguru import logger

from driver.backends import record
from driver.backends.loopfile.images import layout
from driver.backends.loopfile.images.layout import ATTACHED, DISK, FREEZING, RECORD, folder
from driver.core import errnos
from driver.core.errors import CellarError, Damaged
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import ImageId
from driver.core.model import MIB, Image, Publication, Unreadable, Volume
from driver.linux import files

_RECORD_MOST: Final = MIB  # bytes of a record; what is larger is none
# Of this process, not of a record: the pool is looked at again later.
_PASSING: Final = errnos.EXHAUSTED | {errno.EINTR}
_ID: Final = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}", re.ASCII)

Folders: TypeAlias = Mapping[str, frozenset[str]]


def list_folders(root: Path) -> Folders:
    """Return the names of the files in each image's folder, by the folder's name.

    A folder that cannot be listed is returned with the names of all files that an image can have.
    Raises: OSError if `root` cannot be listed.
    """
    return {name: _files_in(f"{root}/{name}") for name in os.listdir(root) if _ID.fullmatch(name)}


def load(root: Path, folders: Folders) -> tuple[list[Image], dict[str, Unreadable]]:
    """Read the records of images in the pool's directory `root`. Returns the images and, by the
    name of its folder, what is known of each image whose record cannot be read.

    `folders`: the names of the files in each image's folder, by the folder's name. Raises: OSError
    if the process lacks the resources to read them, such as file descriptors.
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
    """Read the record of the image in the folder `name`; None: there is no such folder.

    `attached`: False if the image certainly is not published to a node, so that the file which says
    that is not read. Raises: OSError if the process lacks the resources to read the record.
    """
    image_folder, text = f"{root}/{name}", b""
    try:
        text = _text(f"{image_folder}/{RECORD}")
        image = record.from_json(text)
        if str(image.id) != name:
            raise Damaged(f"the record is that of {image.id}")
    except (CellarError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise
        if not os.path.lexists(image_folder):
            return None
        return record.unreadable(name, text, error, layout.length(root, name))
    if isinstance(image, Volume) and attached and (published := _published(root / name)):
        return replace(image, published=published)
    return image


def write_record(root: Path, image: Image) -> None:
    """Replace the record of an image durably. Raises: OSError."""
    image_folder = folder(root, image.id)
    files.write_durably(image_folder / RECORD, record.to_json(image))
    reach(FailPoint.RECORD_RENAMED)
    files.sync_directory(image_folder)


def write_publication(root: Path, volume: Volume) -> None:
    """Write the file which records to which node `volume` is published, or remove the file if the
    volume is not published.

    The file is not synced: the VolumeAttachment in etcd is the durable record.
    """
    path = folder(root, volume.id) / ATTACHED
    if volume.published:
        files.write_beside(path, record.publication_to_json(volume.published))
    else:
        path.unlink(missing_ok=True)


def withdraw(root: Path, volume_id: ImageId, node: str | None) -> None:
    """Remove the record that a volume is published, if the record names `node` (None: any node) or
    cannot be read.

    The removal is not synced: the VolumeAttachment in etcd is the durable record.
    """
    image_folder = folder(root, volume_id)
    published = _published(image_folder)
    if published is None or node in {None, published.node}:
        with suppress(FileNotFoundError, IsADirectoryError):
            (image_folder / ATTACHED).unlink()


def _files_in(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))
    except OSError:
        return frozenset({DISK, RECORD, ATTACHED, FREEZING})


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
