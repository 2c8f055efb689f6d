"""What all parts of a torture run share: the node, what must be true, and what was not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import grpc

from csi_proto import csi_pb2_grpc as rpc
from tests.support.client import Csi
from tests.support.disks import Disk
from tests.support.node import Node
from tests.torture.model import Model


@dataclass
class Findings:
    """What was wrong, in words; empty: nothing was."""

    seed: int
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.texts.append(text)
        print(f"FINDING (seed {self.seed}): {text}", flush=True)


@dataclass
class TortureRun:
    """The node of a run: its pool's disk, its driver, what must be true, and what was not."""

    node: Node
    disk: Disk
    csi: Csi
    model: Model
    findings: Findings
    chosen: random.Random
    counts: Counter[str]
    # Inside, every client waits between two steps; with `down`, nothing is staged or published.
    standing_still: Callable[..., AbstractContextManager[None]] = field(init=False)

    @property
    def pool(self) -> str:
        return f"p=loopfile:{self.disk.where}"


class Details(NamedTuple):
    """What gRPC asks of the details of a call that an interceptor changed."""

    method: str
    timeout: float | None  # seconds
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class Impatience(grpc.UnaryUnaryClientInterceptor):
    """Give one call in ten a deadline of a few milliseconds, as a caller does that goes away."""

    def __init__(self, chosen: random.Random, counts: Counter[str]) -> None:
        self._random, self._counts = chosen, counts

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Make the call, now and then with a deadline of 1 to 30 ms."""
        if self._random.random() < 0.1:
            self._counts["calls given a deadline of milliseconds"] += 1
            details = Details(
                details.method,
                self._random.uniform(0.001, 0.03),
                *(details.metadata, details.credentials, details.wait_for_ready),
                details.compression,
            )
        return continuation(details, request)


class Channel:
    """Stubs that outlive the driver: gRPC connects again by itself, as it does for a sidecar."""

    def __init__(self, endpoint: str, impatience: Impatience) -> None:
        self._channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.enable_http_proxy", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        channel = grpc.intercept_channel(self._channel, impatience)
        self.controller = rpc.ControllerStub(channel)
        self.node = rpc.NodeStub(channel)

    def csi(self) -> Csi:
        """Return a client that makes its calls over this channel."""
        return Csi(cast("Any", self))

    def close(self) -> None:
        self._channel.close()
