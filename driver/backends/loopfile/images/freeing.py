"""Frees the space of deleted images: at once, or in the background if that takes long.

Freeing a large image with many extents takes seconds. Its file is truncated from the end, piece by
piece; after a short time a background thread does the rest, with a pause after each piece.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from loguru import logger

from driver.backends.paced_worker import Background
from driver.core.ids import IMAGE_FILE
from driver.core.model import MIB, Bytes
from driver.linux import files

_MOMENT: Final = 0.1  # seconds that a call may spend on it
_USUAL: Final = (IMAGE_FILE, "volume.json")  # in the folder of an image that is not published
_FIRST: Final = 64 * MIB  # of an image; pieces become longer as long as they are quick
_QUICK: Final = 0.005  # seconds
_RESTS: Final = 1.0  # times what a piece cost
_CLOSE: Final = 2.0  # seconds that the end of a pool waits for the thread


class SpaceFreer:
    """Removes the folders of deleted images of one pool.

    If the pool is closed before all are removed, the remaining folders are found when the pool
    is opened again.
    """

    def __init__(self) -> None:
        self._waiting: deque[_DeletedImage] = deque()
        self._lock = threading.Lock()  # of the queue
        self._background = Background("freer", self._pieces, _RESTS)

    @property
    def pending(self) -> Bytes:
        """The bytes of deleted images that the background thread still has to free."""
        with self._lock:
            return sum(image.allocated for image in self._waiting)

    def free(self, deleted_folder: Path) -> None:
        """Remove the folder of an unfinished (`.new-`) or deleted (`.del-`) image, in the
        background if removing it takes long.

        Never follows a symbolic link. No-op if the folder does not exist. Raises: OSError.
        """
        with suppress(FileNotFoundError):
            if _remove_at_once(deleted_folder):
                return
            image = _DeletedImage(deleted_folder)
            with ExitStack() as undo:
                undo.callback(image.close)
                if image.shrink(_MOMENT):
                    image.remove()
                    return
                undo.pop_all()
            logger.info("{} is freed in the background: {} bytes", image.name, image.allocated)
            with self._lock:
                self._waiting.append(image)
            self._background.begin()

    def resume(self) -> None:
        """Start the background thread again if folders are waiting, for example after an error."""
        if self._waiting:
            self._background.begin()

    def stop(self) -> None:
        """End the background thread after the piece of a file that it is freeing. The folders that
        remain are removed when the pool is next opened.
        """
        self._background.close(_CLOSE)
        with self._lock:
            for image in self._waiting:
                image.close()
            self._waiting.clear()

    def _pieces(self) -> Iterator[None]:
        """Free what waits, piece by piece; the body of the thread. Raises: OSError."""
        while self._waiting:
            image = self._waiting[0]
            try:
                while not image.shrink(0.0):
                    yield
                image.remove()
            except OSError:
                with self._lock:
                    self._waiting.rotate(-1)  # the others first, when it is tried again
                raise
            with self._lock:
                self._waiting.remove(image)


def _remove_at_once(folder: Path) -> bool:
    """Remove the folder of an image that has no more to free than one piece, and no unusual files.
    Returns whether it was removed.

    This takes few system calls, and suffices for most images. Raises: OSError.
    """
    with files.opened_directory(folder, follow=False) as fd:
        if not _truncate_small(fd):
            return False
        for name in _USUAL:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        return False
    return True


def _truncate_small(folder: int) -> bool:
    """Free the bytes of the image in an open folder, if they are few; else return False. Raises:
    OSError.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(IMAGE_FILE, flags, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        small = os.fstat(fd).st_blocks * 512 <= _FIRST
        if small:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
    return small


class _DeletedImage:
    """The folder of a deleted image, with its pool's directory held open."""

    def __init__(self, folder: Path) -> None:
        """Raises: OSError: FileNotFoundError if the folder is gone."""
        self.name = folder.name
        self.allocated: Bytes = 0  # as it was last seen
        self._piece = _FIRST
        with files.opened_directory(folder, follow=False):
            self._parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def shrink(self, seconds: float) -> bool:
        """Free pieces for so long, one at least; return whether no bytes are left. Raises:
        OSError.
        """
        end = time.monotonic() + seconds
        try:
            fd = self._open_image()
        except FileNotFoundError:
            return True
        try:
            while not (finished := self._cut(fd)) and time.monotonic() < end:
                pass
        finally:
            os.close(fd)
        return finished

    def _open_image(self) -> int:
        """Open the image's file, following no link. Raises: OSError."""
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        folder = os.open(self.name, flags | os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._parent)
        try:
            return os.open(IMAGE_FILE, flags | os.O_WRONLY, dir_fd=folder)
        finally:
            os.close(folder)

    def _cut(self, fd: int) -> bool:
        """Cut a piece off the image's end, and return whether it was the last. Raises: OSError."""
        began = time.monotonic()
        size = max(0, os.fstat(fd).st_size - self._piece)
        os.ftruncate(fd, size)
        self.allocated = os.fstat(fd).st_blocks * 512
        if time.monotonic() - began < _QUICK:
            self._piece *= 2
        return size == 0

    def remove(self) -> None:
        """Remove the folder, and close. Raises: OSError: it is still open."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.name, dir_fd=self._parent)
        self.close()

    def close(self) -> None:
        """Close the pool's directory; no-op if it is closed."""
        if self._parent >= 0:
            os.close(self._parent)
        self._parent = -1
