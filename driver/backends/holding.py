"""How the writers of loop-file volumes stand still: freeze the mounts, in a window that ends.

syncfs comes first, outside the window. A durable mark says that a freeze may be left behind if
both this process and its child die; a start that finds the mark thaws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from driver.backends.shelf import FREEZING
from driver.core.errors import Busy
from driver.core.failpoints import reach
from driver.linux import block, files, freeze, loop, mount
from driver.linux.freeze import Freezer


@dataclass(frozen=True, slots=True)
class Held:
    """One attached volume: its folder in the pool and its loop device."""

    folder: Path
    status: loop.Status


@contextmanager
def held_by(freezer: Freezer, members: Sequence[Held], bound: float) -> Iterator[None]:
    """Busy on exit if the window lasted longer than `bound` seconds."""
    places = [(one, place) for one in members if (place := shown_at(one.status))]
    for one in members:
        block.flush(one.status.path)  # raw block: dirty pages sit above the file
    for _, place in places:
        freeze.sync(place)
    with ExitStack() as unmark:
        for one, _ in places:
            unmark.enter_context(_marked(one.folder))
        reach("hold.marked")
        with _frozen(freezer, [place for _, place in places], bound):
            reach("hold.frozen")
            yield
        reach("hold.thawed")


def shown_at(status: loop.Status) -> Path | None:
    """Where this mount namespace shows the filesystem on the device, if anywhere."""
    for one in mount.mounts():
        if mount.shown_device(one) == status.number:
            return one.target
    return None


def thaw_marked(members: Iterable[Held]) -> None:
    """After a crash: a filesystem that is frozen and marked was frozen by us."""
    for one in members:
        if place := shown_at(one.status):
            logger.warning("thawing {}, left frozen by a snapshot that did not end", place)
            freeze.thaw(place)


@contextmanager
def _frozen(freezer: Freezer, places: Sequence[Path], bound: float) -> Iterator[None]:
    if not places:
        yield
        return
    frozen = freezer.freeze(places, bound)
    try:
        yield
    except BaseException:
        with suppress(Busy):  # what went wrong inside says more
            frozen.thaw()
        raise
    frozen.thaw()


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    mark = folder / FREEZING
    mark.touch(mode=0o600)
    files.sync_directory(folder)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
