"""Finds and removes the files that an interrupted or failed call left in a pool.

Only names that this driver itself creates are touched: `.new-` or `.del-` followed by an image id.
A folder `.new-photos` is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from loguru import logger

from driver.backends.loopfile.images.freeing import SpaceFreer
from driver.backends.loopfile.pool.creation import MARKER
from driver.core import errnos
from driver.core.errors import CellarError
from driver.core.faults import Fault, FaultKind
from driver.core.ids import IMAGE_FILE
from driver.core.ports.measures import MEASURES, Count
from driver.linux import file_probes, files
from driver.linux.formats import filesystem, luks

DISK: Final = IMAGE_FILE
NEW: Final = ".new-"
DEL: Final = ".del-"
_IMAGE: Final = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}", re.ASCII)
_FOLDERS: Final = re.compile(
    rf"\.new-{_IMAGE.pattern}|\.del-{_IMAGE.pattern}-[0-9a-f]{{1,32}}", re.ASCII
)
_FILES: Final = re.compile(
    rf"{re.escape(file_probes.PROBE)}[a-z0-9_]{{8}}|{re.escape(MARKER)}\.[0-9a-f]{{12}}(\.tmp)?",
    re.ASCII,
)
_INSIDE: Final = ("volume.json.tmp", "attached.json.tmp")


class Leftovers:
    """The folders of unfinished and deleted images of a pool that could not be removed yet. Their
    removal is retried.

    `freer`: removes the folders.
    """

    def __init__(self, freer: SpaceFreer) -> None:
        self._freer = freer
        self._why: dict[str, str] = {}
        self._lock = threading.Lock()  # held while one is removed, so that none is made anew below

    def sweep(self, root: Path, *, writable: bool) -> None:
        """Find the folders of all unfinished and deleted images and, if the pool is `writable`,
        remove them.

        The caller has the pool's lock, and no other call uses the pool. Raises: OSError if
        `root` cannot be listed.
        """
        self._why = {name: "" for name in os.listdir(root) if _FOLDERS.fullmatch(name)}
        if writable:
            self.retry(root)
            _remove_files(root, filter(_FILES.fullmatch, os.listdir(root)))

    def retry(self, root: Path) -> None:
        """Try again to remove the folders of unfinished and deleted images that could not be
        removed before. A failure is logged and leaves the folder for the next call.
        """
        for name in tuple(self._why):
            with self._lock, suppress(CellarError, OSError):
                if name in self._why:
                    self._remove(root, name)
                    MEASURES.add(Count.LEFTOVERS)
                    logger.info("removed {}, left by a call that did not end", name)

    def clear(self, deleted_folder: Path) -> None:
        """Remove the folder of a deleted image, in the background if that takes long.

        Raises: OSError if the folder cannot be removed; its removal is retried later.
        """
        try:
            self._freer.free(deleted_folder)
        except OSError as error:
            self._why[deleted_folder.name] = str(error)
            raise

    def forget(self, name: str) -> None:
        """Stop retrying to remove the folder `name`, because an image is about to be created
        in it.
        """
        with self._lock:
            self._why.pop(name, None)

    def faults(self, location: Path) -> Iterator[Fault]:
        """Yield a fault for each folder that cannot be removed. `location`: the pool's path in the
        configuration, for the text.
        """
        for name, why in tuple(self._why.items()):
            if why:
                yield Fault(FaultKind.LEFTOVER_STAYS, f"{location / name} cannot be removed: {why}")

    def _remove(self, root: Path, name: str) -> None:
        """Remove the folder `name`, and what a killed preparation left open or mounted in it.

        Raises: CellarError, OSError.
        """
        try:
            if not any(map(os.path.islink, (root / name, root / name / DISK))):
                luks.close_leftovers(root / name / DISK)
                filesystem.release_leftovers(root / name / DISK)
            self._freer.free(root / name)
        except (CellarError, OSError) as error:
            if str(error) != self._why[name]:
                logger.error("{} cannot be removed: {}", name, error)
            self._why[name] = str(error)
            raise
        del self._why[name]


def recreate_folder(folder: Path) -> None:
    """Create the temporary folder `folder` for a new image; a folder that a crash left there is
    removed first.

    Raises: OSError.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        clear(folder)
        folder.mkdir(mode=0o700)


def clear(deleted_folder: Path) -> None:
    """Remove the folder of an unfinished (`.new-`) or deleted (`.del-`) image. No-op if the folder
    does not exist.

    The image is truncated first, because xfs and btrfs free the space of an unlinked file only
    some time later. Never follows a symbolic link (shutil.rmtree refuses to). Raises: OSError.
    """
    with (
        suppress(FileNotFoundError),
        files.opened_directory(deleted_folder, follow=False) as folder,
    ):
        fd = os.open(DISK, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        try:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)
    with suppress(FileNotFoundError):
        shutil.rmtree(deleted_folder)


def sweep_folders(root: Path, folders: Mapping[str, Collection[str]]) -> None:
    """Remove the temporary files that interrupted writes left next to the records of the images in
    the pool's directory `root`. Failures are logged.

    `folders`: the names of the files in each image's folder, by the folder's name.
    """
    for folder, file_names in folders.items():
        _remove_files(root / folder, [name for name in _INSIDE if name in file_names])


def _remove_files(folder: Path, file_names: Iterable[str]) -> None:
    for name in file_names:
        try:
            (folder / name).unlink()
        except OSError as error:
            if error.errno not in errnos.GONE:
                logger.error("{} cannot be removed: {}", name, error)
