"""How the writers of loop-file volumes stand still: freeze the mounts, in a window that ends.

syncfs comes first, outside the window. A durable mark says that a freeze may be left behind if
both this process and its child die; a start that finds the mark thaws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from loguru import logger

from driver.backends.loopfile.layout import FREEZING
from driver.core.errors import Busy
from driver.core.failpoints import FailPoint, reach
from driver.linux import files
from driver.linux.devices import block, loop
from driver.linux.formats import luks
from driver.linux.mounts import freeze, mount_points
from driver.linux.mounts.freeze import Freezer


@dataclass(frozen=True, slots=True)
class Held:
    """An attached volume: its folder in the pool and its loop device."""

    folder: Path
    status: loop.Status
    sealed: bool = False  # encrypted: what is mounted lies on a device above


@contextmanager
def held_by(freezer: Freezer, members: Sequence[Held], bound: float) -> Iterator[None]:
    """Flush the volumes and freeze the filesystems on them while inside.

    Raises: Busy on exit if the freeze lasted longer than `bound` seconds; OSError.
    """
    shown = [(one, place) for one in members if (place := shown_at(one))]
    for one in members:
        _flush(one)  # raw block: dirty pages sit above the file
    for _, place in shown:
        freeze.sync(place)
    with ExitStack() as unmark:
        for one, _ in shown:
            unmark.enter_context(_marked(one.folder))
        reach(FailPoint.QUIESCE_MARKED)
        with _frozen(freezer, [place for _, place in shown], bound):
            reach(FailPoint.QUIESCE_FROZEN)
            yield
        reach(FailPoint.QUIESCE_THAWED)


def shown_at(held: Held) -> Path | None:
    """Return where this mount namespace has the volume's filesystem mounted, or None."""
    found = (one.target for number in _numbers(held) for one in mount_points.filesystems_of(number))
    return next(found, None)


def _numbers(held: Held) -> tuple[int, ...]:
    """Return the numbers of the volume's devices, the topmost first."""
    above = luks.above(held.status.number) if held.sealed else ()
    return (*above, held.status.number)


def _flush(held: Held) -> None:
    """Write the dirty pages of the volume's devices to its file."""
    for number in _numbers(held):
        own = number == held.status.number
        block.flush_for_copy(held.status.path if own else luks.node_of(number))


def thaw_marked(folders: Iterable[Path], held_in: Callable[[Path], Held | None]) -> None:
    """Thaw what a crash left frozen: a filesystem whose volume has our mark in its folder.

    `held_in` returns the attached volume of a folder, or None. Raises: OSError.
    """
    for folder in folders:
        if not (folder / FREEZING).exists():
            continue
        if (one := held_in(folder)) and (place := shown_at(one)):
            logger.warning("thawing {}, left frozen by a snapshot that did not end", place)
            freeze.thaw(place)
        with suppress(OSError):  # of no harm: it is looked at again at the next start
            (folder / FREEZING).unlink()


@contextmanager
def _frozen(freezer: Freezer, targets: Sequence[Path], bound: float) -> Iterator[None]:
    """Freeze the filesystems while inside; with no targets only the time is limited.

    Raises: Busy on exit if it lasted longer than `bound` seconds.
    """
    if not targets:  # raw block has no writers that could be stopped; the bound still holds
        end = monotonic() + bound
        yield
        if monotonic() > end:
            raise Busy(f"it took longer than {bound:g} s; try again")
        return
    with freezer.frozen(targets, bound):
        yield


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Have the durable mark that a freeze may be left behind in the folder, while inside."""
    mark = folder / FREEZING
    mark.touch(mode=0o600)
    files.sync_directory(folder)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
