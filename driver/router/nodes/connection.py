"""The connection to one node: its channel, its last report, and whether it is reachable.

A node that has not reported lately is not called: calls to it fail at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from loguru import logger

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc
from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId
from driver.csi import protocol
from driver.csi.protocol import REPORT_LIFETIME
from driver.router.nodes.directory import (
    Member,
    NodeName,
    RecordReported,
    no_reported_events,
)
from driver.router.nodes.reported_names import ReportedNames
from driver.router.nodes.reported_pools import Derived, KnownPools, ReportedPool
from driver.tls import identity

RECONNECT_INTERVAL: Final = 1.0  # seconds between two attempts to reach a node
CLOSE_GRACE: Final = 60.0  # seconds for calls over a channel that is being replaced
OPTIONS: Final = (
    ("grpc.ssl_target_name_override", identity.NODE),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", protocol.KEEPALIVE_INTERVAL_MS),
    ("grpc.keepalive_timeout_ms", protocol.KEEPALIVE_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel has the new certificate
)

Call: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[Any, Any]"


class NodeConnection:
    """The connection to one node: the gRPC channel, the node's last report, and whether the node is
    reachable.

    `on_change(connection)`: called when the node becomes reachable or unreachable, and when its set
    of pools or their problems change. `on_event(name, event)`: called with each event that the node
    reports. `clock`: returns monotonic seconds.
    """

    def __init__(
        self,
        member: Member,
        credentials: grpc.ChannelCredentials,
        on_change: Callable[[NodeConnection], None],
        clock: Callable[[], float] = time.monotonic,
        on_event: RecordReported = no_reported_events,
    ) -> None:
        self._on_event = on_event
        self.name: NodeName = member.name
        self.member = member
        self.report = cellar.Report()  # the last one, also of a node that is unreachable
        self.pool_ids: frozenset[PoolId] = frozenset()
        self._names = ReportedNames()
        self._known_pools = KnownPools()
        self.problem = "it was not reached yet"
        self.tried = False
        self._on_change = on_change
        self._clock = clock
        self._reported_at = -float("inf")
        self._known_since, self._reachable_since = clock(), float("inf")
        self._open = False
        self._closing: set[asyncio.Task[None]] = set()
        self._forwarded: set[grpc.aio.Call] = set()
        self._calls: dict[str, Call] = {}
        self._peer: cellar_pb2_grpc.NodeAsyncStub | None = None
        self._controller: csi_pb2_grpc.ControllerAsyncStub | None = None
        self._connect(credentials)

    @property
    def reachable(self) -> bool:
        """Whether the node is connected, and its last report is at most REPORT_LIFETIME seconds
        old.
        """
        return self._open and self._clock() - self._reported_at <= REPORT_LIFETIME

    @property
    def known_for(self) -> float:
        """For how many seconds the node has been listed with this address in the cluster."""
        return self._clock() - self._known_since

    @property
    def reachable_for(self) -> float:
        """For how many seconds the node has been reachable; 0 if the node is not reachable."""
        return self._clock() - self._reachable_since if self.reachable else 0.0

    @property
    def report_age(self) -> float | None:
        """Return how many seconds ago the node's last report arrived; None: none has arrived."""
        age = self._clock() - self._reported_at
        return None if age == float("inf") else age

    @property
    def pools(self) -> tuple[ReportedPool, ...]:
        """The reported pools, with their free space; empty if the node is unreachable.

        Pools that the node itself read more than REPORT_LIFETIME seconds ago are left out.
        """
        if not self.reachable:
            return ()
        return self._known_pools.younger_than(REPORT_LIFETIME, self._clock() - self._reported_at)

    def derived(self, key: Hashable, derive: Callable[[], Derived]) -> Derived:
        """Return the result of `derive`, a value that is computed from the node's reported pools,
        and cache it by `key` until the pools change.
        """
        received = self._clock() - self._reported_at
        if self._open and self._known_pools.oldest + received <= REPORT_LIFETIME:
            return self._known_pools.derived(key, derive)
        return derive()  # it is unreachable, or some pools are left out

    def may_have(self, name_digest: int) -> bool:
        """Return whether the node may have an image whose name has the digest `name_digest` (8
        bytes of a hash), so that the node must be asked.
        """
        return self._names.may_have(name_digest, self._clock())

    def had(self, name_digest: int) -> bool:
        """Return whether the last report of the node, reachable or not, has the name digest (8
        bytes of a hash of an image's name).
        """
        return self._names.has(name_digest)

    def inherit(self, earlier: NodeConnection) -> None:
        """Take over the image names that the node reported by its former connection `earlier`."""
        self._names = earlier._names

    def channel(self) -> grpc.aio.Channel:
        """Return the channel to the node. Raises: PoolUnavailable if the node is unreachable."""
        if not self.reachable:
            raise PoolUnavailable(f"node {self.name} is unavailable: {self.problem}")
        return self._channel

    def peer(self) -> cellar_pb2_grpc.NodeAsyncStub:
        """Return the stub of the service by which a router calls this driver's nodes, besides CSI.

        Raises: PoolUnavailable if the node is unreachable.
        """
        channel = self.channel()
        if self._peer is None:
            self._peer = cellar_pb2_grpc.NodeStub(channel)
        return self._peer

    def controller(self) -> csi_pb2_grpc.ControllerAsyncStub:
        """Return the stub of the node's CSI Controller service.

        Raises: PoolUnavailable if the node is unreachable.
        """
        channel = self.channel()
        if self._controller is None:
            self._controller = csi_pb2_grpc.ControllerStub(channel)
        return self._controller

    def call(self, path: str) -> Call:
        """Return a function that calls the unary RPC `path` (as /csi.v1.Controller/CreateVolume) of
        the node, from bytes to bytes.

        Raises: PoolUnavailable if the node is unreachable.
        """
        channel = self.channel()
        if path not in self._calls:
            self._calls[path] = channel.unary_unary(path)
        return self._calls[path]

    @contextmanager
    def cancelled_if_silent(self, call: grpc.aio.Call) -> Iterator[None]:
        """Cancel `call` if the node sends no report for REPORT_LIFETIME seconds during the `with`
        block.

        A connection to a stopped process or a hanging machine may stay open. A cancelled call may
        have taken effect.
        """
        self._forwarded.add(call)
        try:
            yield
        finally:
            self._forwarded.discard(call)

    def reconnect(self, credentials: grpc.ChannelCredentials) -> None:
        """Connect again with new credentials. Running calls can use the old channel for CLOSE_GRACE
        seconds.
        """
        closing = asyncio.ensure_future(self._channel.close(CLOSE_GRACE))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._connect(credentials)

    async def follow(self) -> None:
        """Receive the node's reports, and reconnect after errors, until cancelled."""
        while True:
            try:
                await self._receive_reports()
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                self._set_unreachable(_reason(error))
                for call in self._forwarded:
                    call.cancel()
            await asyncio.sleep(RECONNECT_INTERVAL)

    async def close(self) -> None:
        """Mark the node as unreachable and close its channels.

        Running calls are cancelled after CLOSE_GRACE seconds.
        """
        self._open, self.problem = False, "it is no longer one of the nodes"
        await self._channel.close(CLOSE_GRACE)
        await asyncio.gather(*self._closing)

    async def _receive_reports(self) -> None:
        """Receive the node's reports until the stream ends."""
        if self.member.address is None:
            return self._set_unreachable("its address is not known")
        call = cellar_pb2_grpc.NodeStub(self._channel).Watch(cellar.WatchRequest())
        try:
            while True:
                begin = self._clock()
                report = await asyncio.wait_for(call.read(), REPORT_LIFETIME)
                if self._clock() - begin > REPORT_LIFETIME:  # this process was stopped meanwhile
                    raise TimeoutError  # and the report may be as old
                if not isinstance(report, cellar.Report):
                    return self._set_unreachable("it ended the connection")
                if report.node != self.name:
                    text = f"node {report.node!r} answers at {self.member.address}"
                    return self._set_unreachable(text)
                self._set_report(report)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return None  # the channel was replaced
        finally:
            call.cancel()

    def _set_report(self, report: cellar.Report) -> None:
        """Store a report; call `on_change` if the node became reachable, or its set of pools or
        their problems changed.
        """
        pool_ids = frozenset(pool.id for pool in report.pools if pool.id)
        changed = (
            not self._open
            or pool_ids != self.pool_ids
            or _problems(report) != _problems(self.report)
        )
        if not self._open:
            logger.info("node {} is reachable", self.name, address=self.member.address)
        if not self.reachable:
            self._reachable_since = self._clock()
        self._reported_at, self.pool_ids = self._clock(), pool_ids
        if report.HasField("names"):
            self._names.update(report.names, self._reported_at)
            report.ClearField("names")  # kept once
        self.report = report
        self._known_pools.update(report)
        self._open = self.tried = True
        if changed:
            self._on_change(self)
        for event in report.events:
            self._on_event(self.name, event)

    def _set_unreachable(self, problem: str) -> None:
        """Note that the node is unreachable. `problem`: for the log and for callers."""
        changed = self._open or not self.tried
        if changed or problem != self.problem:
            logger.warning("node {} is unavailable: {}", self.name, problem)
        self._open, self.problem, self.tried = False, problem, True
        if changed:
            self._on_change(self)

    def _connect(self, credentials: grpc.ChannelCredentials) -> None:
        address = self.member.address or "unix:nowhere"  # not dialled
        self._channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)
        self._calls, self._peer, self._controller = {}, None, None


def _problems(report: cellar.Report) -> dict[str, str]:
    return {pool.name: pool.away for pool in report.pools if pool.away}


def _reason(error: grpc.aio.AioRpcError | TimeoutError) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"it has reported nothing for {REPORT_LIFETIME:g} s"
