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
    """Only where there are several pools: a single one does everything."""

    def __init__(self, dispatcher: Dispatcher, uses: UseCases) -> None:
        self._run = dispatcher.run
        self._uses = uses
        self._several = len(uses.pools.all()) > 1

    async def create(self, wanted: CreateVolume) -> CreateVolume:
        """With the pool where the volume is, or should go. Invalid, PoolUnavailable."""
        if not self._several or wanted.pool is not None or wanted.source:
            return wanted
        name = await self._run(lambda one: self._uses.volumes.place(one.create), Place(wanted))
        return replace(wanted, placed=name)

    async def publish(self, wanted: InlinePublish) -> InlinePublish:
        return replace(wanted, create=await self.create(wanted.create))

    async def inline(self, wanted: OfInline) -> OfInline:
        """With the pool where the volume is, if one answers that it has it."""
        if not self._several:
            return wanted
        name = await self._run(lambda one: self._uses.inline.place(one.key), _Find(wanted.key))
        return replace(wanted, placed=name)
