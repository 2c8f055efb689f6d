"""Finds and removes what an interrupted or failed call left in a pool.

Only names of our exact form are ours; `.new-photos` is somebody else's.
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
    """Folders that could not be removed yet; they are retried until they are gone.

    `freer` removes them.
    """

    def __init__(self, freer: SpaceFreer) -> None:
        self._freer = freer
        self._why: dict[str, str] = {}
        self._lock = threading.Lock()  # held while one is removed, so that none is made anew below

    def sweep(self, root: Path, *, writable: bool) -> None:
        """Find all leftovers and, if the pool is `writable`, remove them.

        Only with the pool's lock held, and while no call is at work. Raises: OSError if `root`
        cannot be listed.
        """
        self._why = {name: "" for name in os.listdir(root) if _FOLDERS.fullmatch(name)}
        if writable:
            self.retry(root)
            _remove_files(root, filter(_FILES.fullmatch, os.listdir(root)))

    def retry(self, root: Path) -> None:
        """Try again to remove what is left; what cannot be removed is reported by `faults`."""
        for name in tuple(self._why):
            with self._lock, suppress(CellarError, OSError):
                if name in self._why:
                    self._remove(root, name)
                    MEASURES.add(Count.LEFTOVERS)
                    logger.info("removed {}, left by a call that did not end", name)

    def clear(self, deleted_folder: Path) -> None:
        """Remove the folder of a deleted image, in the background if that takes long.

        Raises: OSError if that fails; it is retried later.
        """
        try:
            self._freer.free(deleted_folder)
        except OSError as error:
            self._why[deleted_folder.name] = str(error)
            raise

    def forget(self, name: str) -> None:
        """Do not remove the folder `name` any more: an image is about to be made in it."""
        with self._lock:
            self._why.pop(name, None)

    def faults(self, location: Path) -> Iterator[Fault]:
        """Yield a fault for each folder that cannot be removed. `location`: the pool's configured
        path.
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


def make_anew(folder: Path) -> None:
    """Make the folder in which an image is made; what a crash left there is removed first.

    Raises: OSError.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        clear(folder)
        folder.mkdir(mode=0o700)


def clear(deleted_folder: Path) -> None:
    """Remove a folder with a `.new-` or `.del-` name. Never follows a link (shutil.rmtree refuses
    to).

    The image is truncated first: xfs and btrfs free the space of an unlinked file some time
    later only. No-op if the folder is gone. Raises: OSError.
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
    """Remove temporary files beside the records of images; `folders`: the files in each folder.

    What cannot be removed is logged.
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
