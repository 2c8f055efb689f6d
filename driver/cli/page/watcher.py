"""The state that the page shows: read from a driver periodically, with events for changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import grpc

from csi_proto import inspect_pb2
from driver.cli.client import CallFailed, Client
from driver.cli.lists.activity import condition_rows, copy_rows
from driver.cli.lists.nodes import node_rows
from driver.cli.lists.rows import pool_rows, snapshot_rows, volume_rows
from driver.cli.live.calls import call_row
from driver.cli.output import Row
from driver.cli.page import conditions
from driver.cli.page.conditions import StuckCopies

INTERVAL: Final = 2.0  # seconds between two questions while somebody looks
_SHARE: Final = 5.0  # a driver is asked for at most a fifth of the time
_CALLS: Final = 200
_CHUNK: Final = 1000  # rows of an event
_KEYS: Final = {
    "pools": ("node", "name"),
    "nodes": ("name",),
    "volumes": ("id",),
    "snapshots": ("id",),
    "copies": ("node", "text"),
}
_WAITING: Final = 200  # events that a browser may be behind before it has to begin again

LISTS: Final = ("pools", "nodes", "volumes", "snapshots", "copies", "conditions")

Event: TypeAlias = tuple[str, Any]  # its name, and what becomes JSON
Rows: TypeAlias = dict[str, Row]


class Watcher:
    """Reads the state of a driver periodically, and sends its changes to the browsers that show the
    page.

    To be used on the event loop only. `make_client`: returns a new client of the driver. The driver
    is called as long as a browser shows the page, and once before.
    """

    def __init__(self, make_client: Callable[[], Client]) -> None:
        self._make_client = make_client
        self._lists: dict[str, Rows] = {name: {} for name in LISTS}
        self._stuck = StuckCopies()
        self._calls: deque[Row] = deque(maxlen=_CALLS)
        self._status: Row = {"problem": "the driver was not asked yet"}
        self._clients: list[Client] = []  # that threads use
        self._is_router = True  # until the driver says that it is a node
        self._followers: set[asyncio.Queue[Event | None]] = set()
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Read the driver's state periodically until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_calls())
                tasks.create_task(self._follow_lists())
        finally:
            for client in [*self._clients]:  # or threads would wait for a driver that hangs
                client.close()

    @contextmanager
    def connected(self) -> Iterator[Client]:
        """Connect to the driver for the `with` block; calls in it fail once `run` has ended."""
        with self._make_client() as client:
            self._clients.append(client)
            try:
                yield client
            finally:
                self._clients.remove(client)

    async def follow(self) -> AsyncIterator[Event]:
        """Yield the driver's whole state as an event, and then each change as an event; end if the
        reader is too slow.

        The first changes may be yielded twice.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue(_WAITING)
        self._followers.add(queue)
        self._wanted.set()
        try:
            for event in [*self._everything()]:
                yield event
            while change := await queue.get():
                yield change
        finally:
            self._followers.discard(queue)
            if not self._followers:
                self._wanted.clear()

    def _everything(self) -> Iterator[Event]:
        yield "begin", {}
        for name, rows in self._lists.items():
            yield from _changes(name, {}, rows)
        yield "calls", [*self._calls]
        yield "status", self._status

    async def _follow_lists(self) -> None:
        while True:
            start = time.monotonic()
            try:
                lists, known = await asyncio.to_thread(self._ask)
            except CallFailed as error:
                self._set_status({"problem": str(error)})
            else:
                lists["conditions"] = _numbered([*known, *self._conditions(lists)])
                for name, rows in lists.items():
                    for event in _changes(name, self._lists[name], rows):
                        self._publish(event)
                self._lists = lists
                self._set_status({"problem": "", "seen": time.time()})
            await asyncio.sleep(max(INTERVAL, (time.monotonic() - start) * _SHARE))
            await self._wanted.wait()

    def _ask(self) -> tuple[dict[str, Rows], Sequence[Row]]:
        """Return all lists by the keys of their rows, and the driver's conditions.

        Raises: CallFailed.
        """
        with self.connected() as client:
            lists = {
                "pools": _keyed("pools", pool_rows(client)),
                "nodes": _keyed("nodes", self._nodes(client)),
                "volumes": _keyed("volumes", map(_short, volume_rows(client))),
                "snapshots": _keyed("snapshots", map(_short, snapshot_rows(client))),
                "copies": _keyed("copies", copy_rows(client)),
            }
            return lists, [*condition_rows(client)]

    def _conditions(self, lists: Mapping[str, Rows]) -> Iterator[Row]:
        """Yield the conditions that can be derived from the state."""
        yield from conditions.check_pools(lists["pools"].values())
        yield from conditions.check_nodes([*lists["nodes"].values()])
        yield from self._stuck.find(lists["copies"], time.monotonic())
        yield from conditions.check_calls(self._calls, datetime.now(UTC))

    def _nodes(self, client: Client) -> list[Row]:
        """Return the nodes of a router; none if the driver is a node. Raises: CallFailed."""
        try:
            return node_rows(client) if self._is_router else []
        except CallFailed as error:
            if error.code is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            self._is_router = False
            return []

    async def _follow_calls(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(CallFailed):
                await asyncio.to_thread(self._read_calls, loop)
            await asyncio.sleep(INTERVAL)

    def _read_calls(self, loop: asyncio.AbstractEventLoop) -> None:
        """Pass on the calls of the driver until it ends them. Raises: CallFailed."""
        request = inspect_pb2.FollowCallsRequest(past=_CALLS)
        loop.call_soon_threadsafe(self._calls.clear)
        with self.connected() as client:
            for call in client.calls(request):
                loop.call_soon_threadsafe(self._add_call, call_row(call))

    def _add_call(self, row: Row) -> None:
        self._calls.append(row)
        self._publish(("calls", [row]))

    def _set_status(self, status: Row) -> None:
        self._status = status
        self._publish(("status", status))

    def _publish(self, event: Event) -> None:
        for queue in [*self._followers]:
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:  # the browser connects again, and gets everything
                self._followers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)


def _changes(name: str, before: Rows, after: Rows) -> Iterator[Event]:
    """Yield what has to be told to somebody who knows `before`, in pieces."""
    changed = [(key, row) for key, row in after.items() if before.get(key) != row]
    for start in range(0, len(changed), _CHUNK):
        yield name, {"rows": dict(changed[start : start + _CHUNK])}
    if gone := [key for key in before if key not in after]:
        yield name, {"gone": gone}


def _keyed(name: str, rows: Iterable[Row]) -> Rows:
    """Return the rows by what identifies each."""
    return {"/".join(str(row[key]) for key in _KEYS[name]): row for row in rows}


def _numbered(rows: Iterable[Row]) -> Rows:
    """Return conditions by node, alert and volume, and a number: their texts change."""
    count: Counter[str] = Counter()
    numbered = {}
    for row in rows:
        key = f"{row['node']}/{row['alert']}/{row['volume_id']}"
        count[key] += 1
        numbered[f"{key}/{count[key]}"] = row
    return numbered


def _short(row: Row) -> Row:
    """Return the row without what is empty: there may be ten thousand."""
    return {key: value for key, value in row.items() if value}
