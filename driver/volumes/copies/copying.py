"""Images with the bytes of others, all of one moment: clones, restores, snapshots and their groups.

Where a pool shares bytes this is a matter of milliseconds. Where it does not they are copied: in
the background if nobody can write to the source, else while its writers stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from driver.core.errors import Busy, Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import ImageId, VolumeId
from driver.core.model import GIB, MIB, Bytes, Image, Prepare, Progress, Volume
from driver.core.ports.backend_features import EstimatesUsage, TakesCopySnapshots
from driver.core.ports.pool import Pool
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.barrier import Barrier, BarrierStep, no_barrier

BOUND: Final = 5.0  # seconds for which writers may stand still
_OPTIMISTIC: Final = 2 * GIB  # bytes per second; no writer is stopped for what is hopeless
_REMEMBERED: Final = 600.0  # seconds for which a copy that was too slow is not tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCopy:
    """An image that is to be made in `pool`, and the `source` in `origin` whose bytes it gets."""

    pool: Pool
    image: Image
    origin: Pool
    source: Image
    finish: Prepare  # what it needs of its own, once it has the bytes
    shares: bool  # False: its bytes are copied
    live: bool  # True: the source can be written to at any time

    @classmethod
    def of(
        cls, pool: Pool, image: Image, origin: Pool, source: Image, finish: Prepare
    ) -> ImageCopy:
        """Return the copy, after asking the pools whether bytes are shared and whether the source
        is in use.
        """
        return cls(
            pool=pool,
            image=image,
            origin=origin,
            source=source,
            finish=finish,
            shares=pool is origin and pool.backend.shares(source.id),
            live=isinstance(source, Volume) and origin.backend.attached(source.id) is not None,
        )

    def written(self) -> Bytes:
        """Return how many bytes of the source are written: at most, if the backend only estimates
        it.
        """
        backend = self.origin.backend
        if isinstance(backend, EstimatesUsage):
            return backend.written_bytes(self.source.id)
        return sum(extent.length for extent in backend.extents(self.source.id))

    def copy(self, where: Path, seen: Progress) -> None:
        """Copy the written bytes of the source into `where`; holes stay holes. `seen` is called
        with the number of bytes copied, step by step.
        """
        backend = self.origin.backend
        with backend.reading(self.source.id) as path:
            self.pool.host.copy(path, where, backend.extents(self.source.id), seen)


class Copier:
    """Makes images that have the bytes of others, all of one moment.

    `bound`: seconds for which writers may stand still. The time is that of the clock of
    `copies`, which must be monotonic, so that it is not set back while writers stand still.
    """

    def __init__(self, copies: BackgroundCopies, bound: float = BOUND) -> None:
        self._copies = copies
        self._clock = copies.clock
        self._bound = bound
        self._too_slow: dict[ImageId, float] = {}

    def copy(self, text: str, twins: Sequence[ImageCopy]) -> None:
        """Make all the images, or none.

        `text` names the copy for people. Raises: Refused: a source is in use, and copying it
        would take longer than writers may stand still; Busy: it did, and nothing was kept;
        NoSpace; StillRunning: it goes on in the background; PoolUnavailable.
        """
        pool = twins[0].pool.name
        live = [twin for twin in twins if twin.live]
        idle = [twin for twin in twins if not twin.live]
        lives = " ".join(twin.source.incarnation for twin in twins)
        if live and all(
            isinstance(twin.origin.backend, TakesCopySnapshots) and not twin.shares for twin in live
        ):
            total = sum(twin.written() for twin in twins)
            self._copies.run(
                pool, text, total, lambda seen: self._make_from_stills(twins, live, seen), lives
            )
            return
        self._refuse_hopeless([twin for twin in live if not twin.shares])
        if to_copy := sum(twin.written() for twin in idle if not twin.shares):
            self._copies.run(pool, text, to_copy, lambda seen: self._make(idle, live, seen), lives)
        else:
            self._make(idle, live, _unwatched)

    def copy_in_step(self, twins: Sequence[ImageCopy], gate: Barrier) -> None:
        """Make all the images, or none, together with other nodes that make their part of the
        group.

        `gate` is called at each step and waits for the other nodes. Raises: Refused: a pool
        cannot share bytes with its source; Busy: writers stood still too long, or another node
        failed; NoSpace.
        """
        if copied := [str(twin.source.id) for twin in twins if not twin.shares]:
            raise Refused(
                f"{', '.join(copied)}: the pool cannot share bytes, so that this cannot be part of"
                " a group on several nodes; use a pool with reflink (xfs or btrfs)"
            )
        live = [twin for twin in twins if twin.live]
        self._make([twin for twin in twins if not twin.live], live, _unwatched, gate)

    def _make(
        self,
        idle: Sequence[ImageCopy],
        live: Sequence[ImageCopy],
        seen: Progress,
        gate: Barrier = no_barrier,
    ) -> None:
        """Create the images of `idle` and then those of `live`, whose writers stand still
        meanwhile.

        The last image is published only after the sources were thawed within the time limit. A
        crash leaves at most an incomplete group, which readers treat as absent.
        """
        twins = (*idle, *live)
        with ExitStack() as undo, ExitStack() as still:
            for twin in twins:
                if live and twin is live[0]:
                    seen = self._stop_writers(live, still)
                if twin is (live or twins)[0]:
                    gate(BarrierStep.FROZEN)
                release = _all_done(still, gate) if twin is twins[-1] else _not_yet
                twin.pool.backend.create(twin.image, _prepare(twin, seen, release))
                undo.callback(twin.pool.backend.delete, twin.image.id)
                reach(FailPoint.SNAPSHOT_TAKEN)
            undo.pop_all()

    def _make_from_stills(
        self, twins: Sequence[ImageCopy], live: Sequence[ImageCopy], seen: Progress
    ) -> None:
        """Make the images from copy snapshots of the live sources, so that their writers stand
        still only until these are taken.
        """
        with ExitStack() as stills:
            with ExitStack() as held:
                for pool, sources in _by_pool(live).items():
                    held.enter_context(pool.backend.quiesce(sources, self._bound))
                for pool, sources in _by_pool(live).items():
                    if isinstance(pool.backend, TakesCopySnapshots):
                        stills.enter_context(pool.backend.copy_snapshot(sources))
            self._make(twins, [], seen)

    def _stop_writers(self, live: Sequence[ImageCopy], still: ExitStack) -> Progress:
        """Freeze the writers of all sources until `still` is closed. Returns the progress function
        for the copy, which raises Busy, and remembers the sources as too slow, when the bound
        has passed.
        """
        start = self._clock()
        for pool, sources in _by_pool(live).items():
            still.enter_context(pool.backend.quiesce(sources, self._bound))

        def seen(_length: Bytes) -> None:
            if self._clock() - start > self._bound:
                self._remember_slow(live)
                raise Busy(
                    f"the bytes could not be copied in the {self._bound:g} s"
                    " for which writers may stand still; nothing was kept"
                )

        return seen

    def _remember_slow(self, twins: Sequence[ImageCopy]) -> None:
        """Remember the sources of a copy that took too long, for 600 seconds."""
        now = self._clock()
        fresh = {one: at for one, at in self._too_slow.items() if now - at < _REMEMBERED}
        self._too_slow = fresh | {twin.source.id: now for twin in twins}

    def _refuse_hopeless(self, twins: Sequence[ImageCopy]) -> None:
        """Raise Refused if the live sources cannot be copied within the bound at 2 GiB/s, or a
        copy of one was too slow less than 600 seconds ago.
        """
        written = sum(twin.written() for twin in twins)
        now = self._clock()
        tried = any(now - self._too_slow.get(one.source.id, -inf) < _REMEMBERED for one in twins)
        if tried or written > _OPTIMISTIC * self._bound:
            names = ", ".join(str(twin.source.id) for twin in twins)
            raise Refused(
                f"{names}: in use, and the pool cannot share bytes: to copy {written // MIB} MiB"
                f" takes longer than the {self._bound:g} s for which writers may stand still;"
                " unmount it, or use a pool with reflink (xfs or btrfs)"
            )


def _prepare(twin: ImageCopy, seen: Progress, release: Callable[[], None]) -> Prepare:
    """Return what `Backend.create` has to run on the new image: copy the bytes unless they are
    shared, call `release`, then give the image what it needs of its own.
    """

    def prepare(where: Path) -> None:
        if not twin.shares:
            twin.copy(where, seen)
        release()  # Busy here, before anyone sees the image
        twin.finish(where)

    return prepare


def _by_pool(twins: Sequence[ImageCopy]) -> dict[Pool, list[VolumeId]]:
    """Return the ids of the source volumes by their pool."""
    sources = [(one.origin, one.source.id) for one in twins if isinstance(one.source, Volume)]
    return {pool: [one for there, one in sources if there is pool] for pool, _ in sources}


def _all_done(still: ExitStack, gate: Barrier) -> Callable[[], None]:
    """Return what thaws the sources (closes `still`) when all nodes have their bytes, and waits
    until all have thawed.
    """

    def release() -> None:
        gate(BarrierStep.TAKEN)
        still.close()
        gate(BarrierStep.THAWED)

    return release


def _not_yet() -> None:
    """No-op: only the last image of a group thaws the sources."""


def _unwatched(_length: Bytes) -> None:
    """No-op: the progress of a copy that takes no time is not reported."""
