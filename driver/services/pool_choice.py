"""Which pool's workers do a call that no id sends to a pool: it is asked first where it belongs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from driver.core.ids import Key
from driver.services.dispatch import Dispatcher
from driver.services.use_cases import UseCases
from driver.volumes.locks import NO_LOCKS, Locks
from driver.volumes.requests import CreateVolume, InlinePublish, InlineStats, InlineUnpublish, Place

OfInline = TypeVar("OfInline", InlineUnpublish, InlineStats)


@dataclass(frozen=True, slots=True)
class _Find:
    key: Key
    locks: ClassVar[Locks] = NO_LOCKS


class Placing:
    """Find the pool for requests whose ids name none, so that they run on that pool's workers.

    No-op if there is one pool only.
    """

    def __init__(self, dispatcher: Dispatcher, uses: UseCases) -> None:
        self._run = dispatcher.run
        self._uses = uses
        self._several = len(uses.pools.all()) > 1

    async def create(self, wanted: CreateVolume) -> CreateVolume:
        """Return the request with the pool where the volume is, or should be created.

        Raises: Invalid, PoolUnavailable.
        """
        if not self._several or wanted.pool is not None or wanted.source:
            return wanted
        name = await self._run(lambda one: self._uses.volumes.place(one.create), Place(wanted))
        return replace(wanted, placed=name)

    async def publish(self, wanted: InlinePublish) -> InlinePublish:
        """Return the request with the pool where the inline volume is, or should be created.

        Raises: Invalid, PoolUnavailable.
        """
        return replace(wanted, create=await self.create(wanted.create))

    async def inline(self, wanted: OfInline) -> OfInline:
        """Return the request with the pool where the inline volume is, if a pool answers that it
        has it.
        """
        if not self._several:
            return wanted
        name = await self._run(lambda one: self._uses.inline.place(one.key), _Find(wanted.key))
        return replace(wanted, placed=name)
