"""Creates the file of an image, shares blocks of another file with it, and grows it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driver.core import errnos
from driver.core.errors import NoSpace
from driver.core.failpoints import FailPoint, reach
from driver.core.model import MIB, Allocation, Bytes, Image, Prepare, Volume
from driver.linux import files

EXTENT_HINT: Final = MIB  # keeps the extents of an image few, so that a reflink is quick


def make(
    disk: Path,
    image: Image,
    source: Path | None,
    shared: Callable[[Path, Image], None],
    prepare: Prepare,
) -> None:
    """Create the file `disk` of an image, sharing the bytes of `source` by reflink if a source is
    given.

    A copy: `shared(disk, image)` is called once the bytes are shared; then `prepare(disk)`, which
    thaws the source if that is in use; then the holes of a thick image are filled. Without a
    source: a thick image is allocated, then `prepare(disk)` may write its contents. On btrfs the
    file is copy-on-write if the source is.

    Raises: NoSpace if a thick image without a source would be copy-on-write; OSError.
    """
    if source:
        share(disk, image, source)
        shared(disk, image)
        prepare(disk)
        _allocate(disk, image)
    else:
        _create(disk, image, nocow=True)
        if _is_thick(image) and files.copies_on_write(disk):
            raise NoSpace("the pool's btrfs refuses NOCOW, so it has no thick volumes")
        _allocate(disk, image)
        prepare(disk)
    reach(FailPoint.CREATE_PREPARED)


def share(disk: Path, image: Image, source: Path) -> None:
    """Make the file `disk` of an image share the bytes of `source` by reflink. The file is created
    if necessary.

    Raises: OSError.
    """
    if not disk.exists():
        _create(disk, image, nocow=not files.copies_on_write(source))
    files.reflink(source, disk)
    if disk.stat().st_size > image.size:  # the source's own expansion was cut short
        os.truncate(disk, image.size)


def _create(disk: Path, image: Image, *, nocow: bool) -> None:
    files.create(disk, image.size, nocow=nocow, extent_hint=EXTENT_HINT)


def _allocate(disk: Path, image: Image) -> None:
    """Allocate all of a thick image, so that it has no holes. Raises: OSError."""
    if _is_thick(image):
        files.allocate(disk, image.size)
    reach(FailPoint.CREATE_ALLOCATED)


def lengthen(disk: Path, known: Volume, size: Bytes) -> None:
    """Extend the file `disk` of the volume `known` to `size` bytes, durably; allocate all its
    blocks if the volume is thick.

    If fallocate fails it may have allocated some of the new bytes, so the file is truncated to
    its old size. Raises: OSError.
    """
    try:
        if _is_thick(known):
            files.allocate(disk, size)
        files.extend(disk, size)
        files.sync(disk)
    except OSError:
        os.truncate(disk, known.size)  # nobody has seen a byte beyond the recorded size
        raise


@contextmanager
def no_space() -> Iterator[None]:
    """Raise NoSpace in place of an OSError which means that the filesystem is full or the file too
    large.
    """
    try:
        yield
    except OSError as error:
        if error.errno in errnos.FULL | {errno.EFBIG}:
            raise NoSpace(f"the pool's filesystem is full: {error.strerror}") from error
        raise


def _is_thick(image: Image) -> bool:
    return isinstance(image, Volume) and image.allocation is Allocation.THICK
