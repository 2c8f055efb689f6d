"""Copies images: clones, restores, snapshots and groups, each of one point in time.

In a pool whose images can share bytes a copy takes milliseconds. In other pools the bytes are
copied: in the background if nothing can write to the source, otherwise while the source is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from driver.core.errors import Busy, Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.ids import ImageId, VolumeId
from driver.core.model import GIB, MIB, Bytes, Image, Prepare, Progress, Volume
from driver.core.ports.backend_features import EstimatesUsage, SharesAhead, TakesCopySnapshots
from driver.core.ports.pool import Pool
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.barrier import Barrier, BarrierStep, no_barrier

FREEZE_BOUND: Final = 5.0  # seconds for which a source may be frozen
_FASTEST: Final = (
    2 * GIB
)  # bytes per second; a source is not frozen for a copy that cannot be in time
_RETRY_AFTER: Final = 600.0  # seconds for which a copy that was too slow is not tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCopy:
    """An image to be created in `pool` as a copy of `source`, which is in the pool `origin`.

    `finish`: run on the new image when it has all bytes, e.g. to give it a new UUID.
    `shares_bytes`: the image shares the source's bytes (reflink, thin snapshot); False: they
    are copied. `source_in_use`: the source may be written to at any time.
    """

    pool: Pool
    image: Image
    origin: Pool
    source: Image
    finish: Prepare  # run on the image once it has the bytes: a new UUID, for one
    shares_bytes: bool  # False: they are copied
    source_in_use: bool  # somebody may write to it at any time

    @classmethod
    def plan(
        cls, pool: Pool, image: Image, origin: Pool, source: Image, finish: Prepare
    ) -> ImageCopy:
        """Return the copy of `source`, after finding out whether its bytes can be shared and
        whether it is in use. `finish`: run on the new image when it has all bytes.
        """
        return cls(
            pool=pool,
            image=image,
            origin=origin,
            source=source,
            finish=finish,
            shares_bytes=pool is origin and pool.backend.shares(source.id),
            source_in_use=isinstance(source, Volume)
            and origin.backend.attached(source.id) is not None,
        )

    def written_bytes(self) -> Bytes:
        """Return the number of bytes written in the source, or an upper bound if the backend can
        only estimate it.
        """
        backend = self.origin.backend
        if isinstance(backend, EstimatesUsage):
            return backend.written_bytes(self.source.id)
        return sum(extent.length for extent in backend.extents(self.source.id))

    def copy_bytes(self, target: Path, progress: Progress) -> None:
        """Copy the written bytes of the source to the same offsets in `target`; holes stay holes.

        `progress` is called again and again with the number of bytes copied since its last call.
        """
        backend = self.origin.backend
        with backend.reading(self.source.id) as path:
            self.pool.host.copy(path, target, backend.extents(self.source.id), progress)


class Copier:
    """Creates images as copies of others. All images that one call creates have the contents that
    their sources had at the same moment.

    `copies`: runs the copying in the background; its clock must be monotonic. `bound`: the longest
    time in seconds for which the filesystems of the sources may be frozen.
    """

    def __init__(self, copies: BackgroundCopies, bound: float = FREEZE_BOUND) -> None:
        self._copies = copies
        self._clock = copies.clock
        self._bound = bound
        self._too_slow: dict[ImageId, float] = {}

    def copy(self, text: str, copies: Sequence[ImageCopy]) -> None:
        """Create the images that `copies` describes: all of them, or none.

        `text` names the copy in messages. Raises: Refused: a source is in use, and copying it would
        take longer than it may be frozen; Busy: copying took longer than that, and no image was
        kept; NoSpace; StillRunning: the copy continues in the background; PoolUnavailable.
        """
        pool = copies[0].pool.name
        live = [copy for copy in copies if copy.source_in_use]
        idle = [copy for copy in copies if not copy.source_in_use]
        incarnations = " ".join(copy.source.incarnation for copy in copies)
        if live and all(
            isinstance(copy.origin.backend, TakesCopySnapshots) and not copy.shares_bytes
            for copy in live
        ):
            total = sum(copy.written_bytes() for copy in copies)
            self._copies.run(
                pool,
                text,
                total,
                lambda progress: self._create_from_copy_snapshots(copies, live, progress),
                incarnations,
                images=[copy.image for copy in copies],
            )
            return
        self._refuse_too_large([copy for copy in live if not copy.shares_bytes])
        if to_copy := sum(copy.written_bytes() for copy in idle if not copy.shares_bytes):
            self._copies.run(
                pool,
                text,
                to_copy,
                lambda progress: self._create(idle, live, progress),
                incarnations,
                images=[copy.image for copy in copies],
            )
        else:
            self._create(idle, live, _no_progress)

    def copy_in_step(self, copies: Sequence[ImageCopy], barrier: Barrier) -> None:
        """Create the images that `copies` describes, or none, together with the other nodes that
        take part in the same group snapshot.

        `barrier` is called at each step and waits for the other nodes. Raises: Refused: a pool
        cannot share bytes with the source; Busy: the sources were frozen too long, or another node
        failed; NoSpace.
        """
        if copied := [str(copy.source.id) for copy in copies if not copy.shares_bytes]:
            raise Refused(
                f"{', '.join(copied)}: the pool cannot share bytes, which a group snapshot on"
                " several nodes requires; use a pool with reflink (xfs or btrfs)"
            )
        live = [copy for copy in copies if copy.source_in_use]
        self._create(
            [copy for copy in copies if not copy.source_in_use], live, _no_progress, barrier
        )

    def _create(
        self,
        idle: Sequence[ImageCopy],
        live: Sequence[ImageCopy],
        progress: Progress,
        barrier: Barrier = no_barrier,
    ) -> None:
        """Create the images of `idle`, then those of `live`, whose sources are frozen meanwhile.

        The last image is published only after the sources were thawed within the time limit. A
        crash leaves at most an incomplete group, which readers treat as absent.
        """
        copies = (*idle, *live)
        with ExitStack() as ahead, ExitStack() as undo, ExitStack() as freeze:
            for copy in live:
                ahead.enter_context(_share_ahead(copy))
            for copy in copies:
                if live and copy is live[0]:
                    progress = self._freeze_sources(live, freeze)
                if copy is (live or copies)[0]:
                    barrier(BarrierStep.FROZEN)
                release = _thaw_in_step(freeze, barrier) if copy is copies[-1] else _keep_frozen
                copy.pool.backend.create(copy.image, _prepare(copy, progress, release))
                undo.callback(copy.pool.backend.delete, copy.image.id)
                reach(FailPoint.SNAPSHOT_TAKEN)
            undo.pop_all()

    def _create_from_copy_snapshots(
        self, copies: Sequence[ImageCopy], live: Sequence[ImageCopy], progress: Progress
    ) -> None:
        """Create the images from copy snapshots of the sources in use, which are frozen only until
        these are taken.
        """
        with ExitStack() as snapshots:
            with ExitStack() as freeze:
                for pool, sources in _by_pool(live).items():
                    freeze.enter_context(pool.backend.quiesce(sources, self._bound))
                for pool, sources in _by_pool(live).items():
                    if isinstance(pool.backend, TakesCopySnapshots):
                        snapshots.enter_context(pool.backend.copy_snapshot(sources))
            self._create(copies, [], progress)

    def _freeze_sources(self, live: Sequence[ImageCopy], freeze: ExitStack) -> Progress:
        """Freeze all sources until `freeze` is closed.

        Returns the progress function for the copy: when the bound has passed it remembers the
        sources as too slow, and raises Busy.
        """
        start = self._clock()
        for pool, sources in _by_pool(live).items():
            freeze.enter_context(pool.backend.quiesce(sources, self._bound))

        def check_time(_length: Bytes) -> None:
            if self._clock() - start > self._bound:
                self._remember_slow(live)
                raise Busy(
                    f"the bytes could not be copied in the {self._bound:g} s for which the source"
                    " may be frozen; nothing was kept"
                )

        return check_time

    def _remember_slow(self, copies: Sequence[ImageCopy]) -> None:
        """Remember the sources of a copy that took too long, for 600 seconds."""
        now = self._clock()
        recent = {
            source_id: at for source_id, at in self._too_slow.items() if now - at < _RETRY_AFTER
        }
        self._too_slow = recent | {copy.source.id: now for copy in copies}

    def _refuse_too_large(self, copies: Sequence[ImageCopy]) -> None:
        """Raise Refused if the live sources cannot be copied within the bound at 2 GiB/s, or a
        copy of one was too slow less than 600 seconds ago.
        """
        written = sum(copy.written_bytes() for copy in copies)
        now = self._clock()
        tried = any(
            now - self._too_slow.get(copy.source.id, -inf) < _RETRY_AFTER for copy in copies
        )
        if tried or written > _FASTEST * self._bound:
            ids = ", ".join(str(copy.source.id) for copy in copies)
            raise Refused(
                f"{ids}: in use, and the pool cannot share bytes: copying {written // MIB} MiB"
                f" takes longer than the {self._bound:g} s for which a source may be frozen;"
                " unmount it, or use a pool with reflink (xfs or btrfs)"
            )


def _prepare(copy: ImageCopy, progress: Progress, release: Callable[[], None]) -> Prepare:
    """Return what `Backend.create` runs on the new image: copy the bytes unless they are shared,
    call `release`, then finish the image.
    """

    def prepare(path: Path) -> None:
        if not copy.shares_bytes:
            copy.copy_bytes(path, progress)
        release()  # Busy here, before anybody can see the image
        copy.finish(path)

    return prepare


def _share_ahead(copy: ImageCopy) -> AbstractContextManager[None]:
    """Share the bytes of a source in use before it is frozen, where that shortens the freeze."""
    backend = copy.pool.backend
    if copy.shares_bytes and isinstance(backend, SharesAhead):
        return backend.share_ahead(copy.image)
    return nullcontext()


def _by_pool(copies: Sequence[ImageCopy]) -> dict[Pool, list[VolumeId]]:
    """Return the ids of the source volumes by their pool."""
    volumes = dict[Pool, list[VolumeId]]()
    for copy in copies:
        if isinstance(copy.source, Volume):
            volumes.setdefault(copy.origin, []).append(copy.source.id)
    return volumes


def _thaw_in_step(freeze: ExitStack, barrier: Barrier) -> Callable[[], None]:
    """Return what waits until all nodes have their bytes, thaws the sources (closes `freeze`), and
    waits until all nodes have thawed theirs.
    """

    def release() -> None:
        barrier(BarrierStep.TAKEN)
        freeze.close()
        barrier(BarrierStep.THAWED)

    return release


def _keep_frozen() -> None:
    """Do nothing: only the last image of a group thaws the sources."""


def _no_progress(_length: Bytes) -> None:
    """Do nothing: the progress of a copy that shares bytes is not reported."""
