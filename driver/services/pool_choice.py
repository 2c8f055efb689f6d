"""Finds or chooses the pool of a request whose id contains none, so that the pool's workers can run
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from driver.services.dispatch import Dispatcher, Request, Result
from driver.services.use_cases import UseCases
from driver.volumes.locks import Locks
from driver.volumes.node_requests import InlinePublish, InlineStats, InlineUnpublish
from driver.volumes.requests import CreateVolume

AnyRequest = TypeVar("AnyRequest", bound=Request)
_PLACED = (CreateVolume, InlinePublish, InlineUnpublish, InlineStats)


@dataclass(frozen=True, slots=True)
class _FindPool:
    """The request for the pool of another request."""

    request: Any

    @property
    def locks(self) -> Locks:
        return Locks(workers=self.request.locks.workers)


class PoolChoice:
    """Runs each request in a worker thread of its pool, by a Dispatcher.

    If there are several pools and the request's id contains none, the volume's pool is searched
    for, or a pool for a new volume is chosen, first.
    """

    def __init__(self, dispatcher: Dispatcher, use_cases: UseCases) -> None:
        self._run = dispatcher.run
        self._use_cases = use_cases
        self._several = len(use_cases.pools.all()) > 1

    async def run(self, work: Callable[[AnyRequest], Result], request: AnyRequest) -> Result:
        """Run `work(request)` in a worker thread of the request's pool, with the locks of
        `request`, and return the result.

        Raises: Invalid, PoolUnavailable if no pool can have a new volume; Busy if another call
        holds a lock; Overloaded; StillRunning; what `work` raises.
        """
        if self._several and isinstance(request, _PLACED):
            return await self._run(work, await self._placed(request))
        return await self._run(work, request)

    async def _placed(self, request: Any) -> Any:
        """Return the request with the name of the pool where the volume is, or should be created.

        None, for an inline volume that no pool that answers has.
        """
        match request:
            case CreateVolume() if request.pool is not None or request.source:
                return request
            case InlinePublish():
                return replace(request, create=await self._placed(request.create))
        return replace(request, placed=await self._run(self._find, _FindPool(request)))

    def _find(self, find: _FindPool) -> str | None:
        match find.request:
            case CreateVolume() as create:
                return self._use_cases.volumes.choose_pool(create)
            case request:
                return self._use_cases.ephemeral.pool_name(request.handle.key)
