"""One moment of a volume, to copy from while its writers go on: a snapshot that goes away again.

A thick volume's is a classic one. What is overwritten meanwhile goes to the group's free room; when
that is used up the snapshot is void, which ends the copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from secrets import token_hex

from loguru import logger

from driver.backends.lvm import tags
from driver.backends.lvm.pool import LvmPool
from driver.core.errors import NoSpace
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import VolumeId
from driver.linux.devices import dm, lvm


@contextmanager
def taken(pool: LvmPool, volumes: Sequence[VolumeId]) -> Iterator[None]:
    """Take a snapshot of each volume; inside, `reading` gives the snapshots to this thread.

    They are removed on exit.

    Raises: NoSpace if there is no free space for them, or if more was overwritten meanwhile
    than a thick snapshot can hold; NotFound, Damaged.
    """
    with ExitStack() as undo:
        with pool.group.lock:
            of = {one: pool.whole(one).volume for one in volumes}
            room = pool.kind.room_for_stills(pool.look(), [*of.values()])
            names = {one: _take(pool, volume, room, undo) for one, volume in of.items()}
        reach(FailPoint.COPY_SNAPSHOT_TAKEN)
        undo.enter_context(pool.devices.instead(names))
        try:
            yield
        except OSError as error:
            if any(map(pool.kind.is_void, names.values())):
                raise NoSpace(
                    f"more was written to {', '.join(map(str, names))} while it was copied than"
                    f" volume group {pool.group.name} has room for; nothing was kept"
                ) from error
            raise


def _take(pool: LvmPool, volume: lvm.LogicalVolume, room: int, undo: ExitStack) -> str:
    """Take a snapshot, to be removed by `undo`, and return its name. `room`: bytes for what is
    overwritten.
    """
    name = f"{volume.name}{tags.STILL}{token_hex(4)}"
    pool.begin(name)
    undo.callback(pool.done, name)
    pool.kind.still(name, volume, room)
    undo.callback(pool.abandon, name)
    logger.debug("{} is read as {}", volume.name, dm.escaped(pool.group.name, name))
    return name
