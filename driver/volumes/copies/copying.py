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
from driver.core.failpoints import reach
from driver.core.ids import ImageId, VolumeId
from driver.core.model import GIB, MIB, Bytes, Image, Prepare, Progress, Volume
from driver.core.ports import EstimatesUsage, Pool, TakesCopySnapshots
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.barrier import Barrier, BarrierStep, no_barrier

BOUND: Final = 5.0  # seconds for which writers may stand still
_OPTIMISTIC: Final = 2 * GIB  # bytes per second; no writer is stopped for what is hopeless
_REMEMBERED: Final = 600.0  # seconds for which a copy that was too slow is not tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCopy:
    """An image that is to be made, and the one whose bytes it gets."""

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
        backend = self.origin.backend
        if isinstance(backend, EstimatesUsage):
            return backend.written_bytes(self.source.id)
        return sum(extent.length for extent in backend.extents(self.source.id))

    def copy(self, where: Path, seen: Progress) -> None:
        backend = self.origin.backend
        with backend.reading(self.source.id) as path:
            self.pool.host.copy(path, where, backend.extents(self.source.id), seen)


class Copier:
    """Time passes by the clock of `copies`, which nobody sets back while writers stand still."""

    def __init__(self, copies: BackgroundCopies, bound: float = BOUND) -> None:
        self._copies = copies
        self._clock = copies.clock
        self._bound = bound
        self._too_slow: dict[ImageId, float] = {}

    def copy(self, text: str, twins: Sequence[ImageCopy]) -> None:
        """All or none. Refused, Busy, NoSpace; StillRunning while it is done in the background."""
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
        """All or none, here and wherever else a part is made. Refused, Busy, NoSpace."""
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
        """The last one is seen by nobody before the writers go on and the bound was kept.

        So a crash leaves no image, or a group that is not whole, which is no group.
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
                reach("snapshot.taken")
            undo.pop_all()

    def _make_from_stills(
        self, twins: Sequence[ImageCopy], live: Sequence[ImageCopy], seen: Progress
    ) -> None:
        """The writers stand still for the moment that is copied, not for the copy."""
        with ExitStack() as stills:
            with ExitStack() as held:
                for pool, sources in _by_pool(live).items():
                    held.enter_context(pool.backend.quiesce(sources, self._bound))
                for pool, sources in _by_pool(live).items():
                    if isinstance(pool.backend, TakesCopySnapshots):
                        stills.enter_context(pool.backend.copy_snapshot(sources))
            self._make(twins, [], seen)

    def _stop_writers(self, live: Sequence[ImageCopy], still: ExitStack) -> Progress:
        """The writers of all sources stand still until `still` is closed; ends what is too slow."""
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
        now = self._clock()
        fresh = {one: at for one, at in self._too_slow.items() if now - at < _REMEMBERED}
        self._too_slow = fresh | {twin.source.id: now for twin in twins}

    def _refuse_hopeless(self, twins: Sequence[ImageCopy]) -> None:
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
    def prepare(where: Path) -> None:
        if not twin.shares:
            twin.copy(where, seen)
        release()  # Busy here, before anyone sees the image
        twin.finish(where)

    return prepare


def _by_pool(twins: Sequence[ImageCopy]) -> dict[Pool, list[VolumeId]]:
    sources = [(one.origin, one.source.id) for one in twins if isinstance(one.source, Volume)]
    return {pool: [one for there, one in sources if there is pool] for pool, _ in sources}


def _all_done(still: ExitStack, gate: Barrier) -> Callable[[], None]:
    def release() -> None:
        gate(BarrierStep.TAKEN)
        still.close()
        gate(BarrierStep.THAWED)

    return release


def _not_yet() -> None:
    """No-op: only the last image of a group thaws the sources."""


def _unwatched(_length: Bytes) -> None:
    """Nobody asks how far a copy is that takes no time."""
