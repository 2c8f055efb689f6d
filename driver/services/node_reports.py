"""Reports of this node to routers: soon after each change, and every few seconds.

If collecting the states of the pools blocks on a disk, the previous report is sent again with its
age. The names of images are read less often if there are so many that reading them takes long.

A router creates a volume elsewhere if its name is not reported, so no name may be missing: those of
images that are being created are included, and no names are reported at all until the pools were
read after a start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import CellarError
from driver.core.ids import pack_digests
from driver.core.ports.node_events import NodeEvent, NodeEvents
from driver.csi.protocol import REPORT_INTERVAL, REPORT_TIMEOUT
from driver.volumes.pools.call_facts import object_kind, persistent_name

DEBOUNCE: Final = 0.02  # seconds in which several changes make one report
NAMES_SHARE: Final = 0.01  # of the time: what reading the names of images may take
NAMES_PAUSE: Final = REPORT_INTERVAL / 2  # seconds, at most, in which they are not read again
CHANGING: Final = frozenset(
    (
        *("CreateVolume", "DeleteVolume", "ControllerExpandVolume", "ControllerModifyVolume"),
        *("ControllerPublishVolume", "ControllerUnpublishVolume"),
        *("CreateSnapshot", "DeleteSnapshot"),
        *("CreateVolumeGroupSnapshot", "DeleteVolumeGroupSnapshot"),
    )
)

ReadReport: TypeAlias = Callable[[], Awaitable[cellar.Report]]
ReadNames: TypeAlias = Callable[[], Awaitable[frozenset[int] | None]]


@dataclass(frozen=True, slots=True)
class NamesRead:
    """The digests of the names of all images, and when they were read (`at`, monotonic seconds)."""

    digests: frozenset[int]
    at: float


class NodeReports:
    """Makes the reports of this node about its pools and images, and sends them to all routers that
    listen. To be used on the event loop only.

    `read`: makes a report. `initial`: the report that is sent until the first one is made.
    `events`: the events of this node; each is sent to each router. `read_names`: returns the
    digests of the names of all images, or None while they are unknown; if it is None itself,
    reports contain no names.
    """

    def __init__(
        self,
        read: ReadReport,
        initial: cellar.Report,
        events: NodeEvents | None = None,
        read_names: ReadNames | None = None,
    ) -> None:
        self._read = read
        self._read_names = read_names
        self._names: NamesRead | None = None
        self._names_due = -float("inf")
        self._names_pools: Sequence[tuple[str, str]] = ()
        self._events = events or NodeEvents()
        self._last, self._read_at = initial, -float("inf")
        self._reading: asyncio.Task[None] | None = None
        self._listeners: set[asyncio.Event] = set()
        self._closed = False

    def on_finish(self, rpc: str, _code: str, _seconds: float) -> None:
        """Send a report soon if the RPC `rpc`, which has ended, can change pools. That holds also
        for an RPC that failed, which may have freed or used space.
        """
        if rpc in CHANGING:
            self._wake()

    def close(self) -> None:
        """End all streams of reports, which otherwise never end, so that the node can stop."""
        self._closed = True
        self._wake()

    async def listen(self) -> AsyncIterator[cellar.Report]:
        """Yield reports, after each change and every REPORT_INTERVAL seconds, until this object is
        closed.

        While reading the states of the pools waits for a disk, the previous report is sent again
        with its `age` in seconds.
        """
        changed = asyncio.Event()
        self._listeners.add(changed)
        sent_number, sent_names = 0, None
        try:
            while not self._closed:
                changed.clear()
                await self._refresh()
                report = self._current()
                events = self._events.after(sent_number)
                report.events.extend(map(present_event, events))
                if self._names:
                    report.names.CopyFrom(_present_names(sent_names, self._names))
                    sent_names = self._names.digests
                yield report
                sent_number = events[-1].number if events else sent_number
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), REPORT_INTERVAL)
                    await asyncio.sleep(DEBOUNCE)
        finally:
            self._listeners.discard(changed)

    def _wake(self) -> None:
        for changed in self._listeners:
            changed.set()

    async def _refresh(self) -> None:
        """Read a new report, for at most REPORT_TIMEOUT seconds."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_once())
        await asyncio.wait({self._reading}, timeout=REPORT_TIMEOUT)

    async def _read_once(self) -> None:
        start = time.monotonic()
        try:
            self._last = await self._read()
            self._read_at = start
            await self._refresh_names()
        except (CellarError, OSError) as error:
            logger.warning("the pools were not read for a report: {}", error)

    async def _refresh_names(self) -> None:
        """Read the names, unless that was done a moment ago and takes long.

        They are read in any case if a pool has appeared: routers learn of it and of its images at
        once.
        """
        start, pools = time.monotonic(), [(pool.id, pool.away) for pool in self._last.pools]
        recent = start < self._names_due and pools == self._names_pools
        if self._read_names is None or recent or (digests := await self._read_names()) is None:
            return
        if self._names and digests == self._names.digests:
            digests = self._names.digests  # the same object: there is nothing to send
        self._names, self._names_pools = NamesRead(digests, start), pools
        now = time.monotonic()
        self._names_due = now + min((now - start) / NAMES_SHARE, NAMES_PAUSE)

    def _current(self) -> cellar.Report:
        report = cellar.Report()
        report.CopyFrom(self._last)
        report.age = time.monotonic() - self._read_at
        return report


def present_event(event: NodeEvent) -> cellar.Event:
    """Convert an event to its message in a report."""
    message = cellar.Event(
        number=event.number,
        at=event.at,
        reason=event.reason,
        text=event.text,
        warning=event.warning,
    )
    if image := event.image:
        message.kind = object_kind(image)
        message.namespace, message.name = image.objects.namespace, image.objects.claim
        message.persistent = image.objects.persistent or persistent_name(image)
        message.volume_id = str(image.id)
    return message


def _present_names(sent: frozenset[int] | None, names: NamesRead) -> cellar.Names:
    """Return the names for a stream that has got the names `sent` before; None: it has got none."""
    current, known = names.digests, sent or frozenset[int]()
    added, removed = (current - known, known - current) if current is not sent else ((), ())
    return cellar.Names(
        complete=sent is None,
        added=pack_digests(added),
        removed=pack_digests(removed),
        age=time.monotonic() - names.at,
    )
