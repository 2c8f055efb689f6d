"""What may happen to a simulated pool and its images, for tests of those who must live with it."""

from __future__ import annotations

from collections.abc import Iterator

from driver.core.errors import Damaged, PoolReadOnly, PoolUnavailable
from driver.core.faults import Fault, FaultKind, Severity, fault_of
from driver.core.ids import ImageId
from driver.core.model import Image, Snapshot, Unreadable


class Ills:
    """Simulated failures: a base class of the pool, used under its lock."""

    def __init__(self) -> None:
        self._away = ""
        self._read_only = ""
        self._lost: set[ImageId] = set()
        self._damaged: dict[ImageId, Unreadable] = {}
        self._faults: dict[ImageId | None, tuple[Fault, ...]] = {}

    def take_away(self, why: str = "the simulated disk was pulled") -> None:
        """Make the pool unavailable."""
        self._away = why

    def bring_back(self) -> None:
        """Make the pool available again."""
        self._away = ""

    def turn_read_only(self, why: str = "the simulated disk takes no writes") -> None:
        """Make the pool refuse all writes."""
        self._read_only = why

    def turn_writable(self) -> None:
        """Let the pool take writes again."""
        self._read_only = ""

    def afflict(self, image_id: ImageId | None, *faults: Fault) -> None:
        """Set what `faults` reports of an image (None: of the pool) from now on; no faults:
        nothing.
        """
        self._faults[image_id] = faults

    def lose(self, image_id: ImageId) -> None:
        """Remove the bytes of an image but not its record, as if somebody had removed the backing
        file.
        """
        self._lost.add(image_id)

    def _damage(self, image: Image, why: str) -> None:
        """Make the record of an image untrusted from now on."""
        of = image if isinstance(image, Snapshot) else None
        self._damaged[image.id] = Unreadable(
            id=image.id,
            why=f"{image.id}: {why}",
            size=image.size,
            source=of.source if of else None,
            created=of.created if of else 0.0,
            group=of.group if of else None,
        )

    def mend(self, image_id: ImageId) -> None:
        """Make the record of a damaged image readable again."""
        self._damaged.pop(image_id, None)

    def _forget_ills(self, image_id: ImageId) -> None:
        """Drop the failures of an image that is deleted."""
        self._faults.pop(image_id, None)
        self._lost.discard(image_id)

    def _all_damaged(self) -> list[Unreadable]:
        return sorted(self._damaged.values(), key=lambda one: str(one.id))

    def _is_damaged(self, image_id: ImageId) -> bool:
        return image_id in self._damaged

    def _refuse_away(self, name: str) -> None:
        """Raise PoolUnavailable if the pool `name` was taken away."""
        if self._away:
            raise PoolUnavailable(f"pool {name}: {self._away}")

    def _refuse_to_write(self, name: str) -> None:
        """Raise PoolUnavailable or PoolReadOnly if the pool `name` cannot be written to."""
        self._refuse_away(name)
        if self._read_only:
            raise PoolReadOnly(f"pool {name}: {self._read_only}")

    def _refuse_damaged(self, image_id: ImageId) -> None:
        """Raise Damaged if the record of the image cannot be trusted."""
        if one := self._damaged.get(image_id):
            raise Damaged(one.why)

    def _refuse_lost(self, image_id: ImageId) -> None:
        """Raise Damaged if the bytes of the image are gone."""
        if image_id in self._lost:
            raise Damaged(f"{image_id}: its image is gone")

    def _ill_faults(self, image_id: ImageId | None) -> Iterator[Fault]:
        """Give the faults of an image, or (None) of the pool."""
        if self._away:
            yield Fault(FaultKind.POOL_AWAY, self._away, Severity.INACCESSIBLE)
        elif image_id is None:
            yield from (Fault(FaultKind.RECORD_DAMAGED, one.why) for one in self._all_damaged())
        elif image_id in self._damaged:
            yield Fault(FaultKind.RECORD_DAMAGED, self._damaged[image_id].why, Severity.DATA_LOSS)
        elif image_id in self._lost:
            yield Fault(
                FaultKind.BACKING_FILE_GONE, f"{image_id}: its image is gone", Severity.DATA_LOSS
            )
        yield from self._faults.get(image_id, ())
        if self._read_only and not self._away:
            yield fault_of(PoolReadOnly(self._read_only))
