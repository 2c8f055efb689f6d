"""What routers are told of this node: soon after each change, and every few seconds as a sign of
life. A look at the pools may hang with a disk; the last one is told again then, with its age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import CellarError

BEAT: Final = 2.0  # seconds between two reports of a node on which nothing happens
PATIENCE: Final = 1.0  # seconds for a look
TOGETHER: Final = 0.02  # seconds in which changes are one change
CHANGING: Final = frozenset(
    (
        *("CreateVolume", "DeleteVolume", "ControllerExpandVolume", "ControllerModifyVolume"),
        *("ControllerPublishVolume", "ControllerUnpublishVolume"),
        *("CreateSnapshot", "DeleteSnapshot"),
        *("CreateVolumeGroupSnapshot", "DeleteVolumeGroupSnapshot"),
    )
)

Look = Callable[[], Awaitable[cellar.Report]]


class NodeReports:
    """The reports of this node for all routers. Lives on the event loop.

    `look` makes a report, once for all routers that listen. `nothing`: the report until then.
    """

    def __init__(self, look: Look, nothing: cellar.Report) -> None:
        self._look = look
        self._last, self._at = nothing, -float("inf")
        self._looking: asyncio.Task[None] | None = None
        self._listeners: set[asyncio.Event] = set()
        self._closed = False

    def seen(self, rpc: str, _code: str, _seconds: float) -> None:
        """Report soon if the RPC that ended changes pools: also a failed one may have freed or
        used space.
        """
        if rpc in CHANGING:
            self._wake()

    def close(self) -> None:
        """End all streams of `listen`, which have no other end, so that the node can stop."""
        self._closed = True
        self._wake()

    async def listen(self) -> AsyncIterator[cellar.Report]:
        """Yield reports, after each change and every BEAT seconds, until `close` is called.

        If collecting the state of pools blocks on a disk, the previous report is sent again
        with its `age` in seconds.
        """
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            while not self._closed:
                changed.clear()
                await self._refresh()
                yield self._aged()
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), BEAT)
                    await asyncio.sleep(TOGETHER)
        finally:
            self._listeners.discard(changed)

    def _wake(self) -> None:
        for changed in self._listeners:
            changed.set()

    async def _refresh(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._looked())
        await asyncio.wait({self._looking}, timeout=PATIENCE)

    async def _looked(self) -> None:
        start = time.monotonic()
        try:
            self._last = await self._look()
            self._at = start
        except (CellarError, OSError) as error:
            logger.warning("the pools were not looked at: {}", error)

    def _aged(self) -> cellar.Report:
        report = cellar.Report()
        report.CopyFrom(self._last)
        report.age = time.monotonic() - self._at
        return report
