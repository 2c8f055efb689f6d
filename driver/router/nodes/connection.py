"""The line to one node: its channel, its last report, and whether it is there.

A node that says nothing is away, and is not called at all: whoever asks for it is told at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import PoolUnavailable
from driver.core.ids import PoolId
from driver.router.nodes.directory import Member, NodeName
from driver.tls import identity

FRESH: Final = 5.0  # seconds for which a report is believed
RETRY: Final = 1.0  # seconds between two tries to reach a node
FINISH: Final = 60.0  # seconds for calls over a channel that is being replaced
WATCH: Final = "/cellar.v1.Node/Watch"
OPTIONS: Final = (
    ("grpc.ssl_target_name_override", identity.NODE),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 5000),  # a node that vanished ends the calls that wait for it
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel has the new certificate
)

Call: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[Any, Any]"


class NodeConnection:
    """The connection to one node: its channel, its last report, and whether it is reachable.

    `told()` is called when the node becomes reachable or unreachable, and when its set of pools
    changes. `clock`: monotonic, seconds.
    """

    def __init__(
        self,
        member: Member,
        credentials: grpc.ChannelCredentials,
        told: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name: NodeName = member.name
        self.member = member
        self.report = cellar.Report()  # the last one, also of a node that is away
        self.pool_ids: frozenset[PoolId] = frozenset()
        self.why = "it was not reached yet"
        self.tried = False
        self._told = told
        self._clock = clock
        self._at = -float("inf")
        self._open = False
        self._closing: set[asyncio.Task[None]] = set()
        self._calls: dict[str, Call] = {}
        self._channel = self._connect(credentials)

    @property
    def there(self) -> bool:
        """Whether the node is reachable: connected, its last report at most FRESH seconds old."""
        return self._open and self._clock() - self._at <= FRESH

    @property
    def pools(self) -> tuple[cellar.Pool, ...]:
        """The reported pools, with their free space; empty if the node is unreachable.

        Pools that the node itself examined more than FRESH seconds ago are left out.
        """
        if not self.there:
            return ()
        told = self._clock() - self._at  # and, of an older version, all pools at the same time
        age = self.report.age
        return tuple(one for one in self.report.pools if max(age, one.age) + told <= FRESH)

    def channel(self) -> grpc.aio.Channel:
        """Return the channel to the node. Raises: PoolUnavailable if the node is unreachable."""
        if not self.there:
            raise PoolUnavailable(f"node {self.name} is away: {self.why}")
        return self._channel

    def call(self, method: str) -> Call:
        """Return a callable for the unary `method` (its full path), from bytes to bytes.

        Raises: PoolUnavailable if the node is unreachable.
        """
        channel = self.channel()
        if method not in self._calls:
            self._calls[method] = channel.unary_unary(method)
        return self._calls[method]

    def renew(self, credentials: grpc.ChannelCredentials) -> None:
        """Connect again with new credentials. Calls that run keep the old channel for FINISH
        seconds.
        """
        closing = asyncio.ensure_future(self._channel.close(FINISH))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._channel = self._connect(credentials)

    async def follow(self) -> None:
        """Receive the node's reports, and reconnect after errors, until cancelled."""
        while True:
            try:
                await self._listen()
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                self._lost(_reason(error))
            await asyncio.sleep(RETRY)

    async def close(self) -> None:
        """Mark the node as unreachable and close its channels. Running calls get FINISH seconds."""
        self._open, self.why = False, "it is no longer one of the nodes"
        await self._channel.close(FINISH)
        await asyncio.gather(*self._closing)

    async def _listen(self) -> None:
        """Receive the node's reports until the stream ends."""
        if self.member.address is None:
            return self._lost("nobody says where it listens")
        call = self._channel.unary_stream(
            WATCH,
            request_serializer=cellar.WatchRequest.SerializeToString,
            response_deserializer=cellar.Report.FromString,
        )(cellar.WatchRequest())
        try:
            while True:
                report = await asyncio.wait_for(call.read(), FRESH)
                if not isinstance(report, cellar.Report):
                    return self._lost("it ended the connection")
                if report.node != self.name:
                    return self._lost(f"at {self.member.address} answers node {report.node!r}")
                self._heard(report)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return None  # the channel was renewed
        finally:
            call.cancel()

    def _heard(self, report: cellar.Report) -> None:
        """Note a report; call `told` if the node became reachable or its set of pools changed."""
        pool_ids = frozenset(pool.id for pool in report.pools if pool.id)
        same = self._open and pool_ids == self.pool_ids
        if not self._open:
            logger.info("node {} is there", self.name, address=self.member.address)
        self.report, self._at, self._open, self.tried = report, self._clock(), True, True
        self.pool_ids = pool_ids
        if not same:
            self._told()

    def _lost(self, why: str) -> None:
        """Note that the node is unreachable. `why`: for the log and for callers."""
        if self._open or why != self.why:
            logger.warning("node {} is away: {}", self.name, why)
        self._open, self.why, self.tried = False, why, True
        self._told()

    def _connect(self, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        self._calls = {}
        address = self.member.address or "unix:nowhere"  # not dialled
        return grpc.aio.secure_channel(address, credentials, options=OPTIONS)


def _reason(error: grpc.aio.AioRpcError | TimeoutError) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"it has said nothing for {FRESH:g} s"
