"""What all parts of a torture run share: the node, what must be true, and what was not."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import grpc

from csi_proto import csi_pb2_grpc as rpc
from tests.promises.client import Csi
from tests.promises.disks import Disk
from tests.promises.node import Node
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
class Ground:
    """The node of a run: its pool's disk, its driver, what must be true, and what was not."""

    node: Node
    disk: Disk
    csi: Csi
    model: Model
    findings: Findings
    chosen: random.Random
    counts: Counter[str]

    @property
    def pool(self) -> str:
        return f"p=loopfile:{self.disk.where}"


class Channel:
    """Stubs that outlive the driver: gRPC connects again by itself, as it does for a sidecar."""

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.insecure_channel(
            endpoint,
            options=[
                ("grpc.enable_http_proxy", 0),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        self.controller = rpc.ControllerStub(self._channel)
        self.node = rpc.NodeStub(self._channel)

    def csi(self) -> Csi:
        """Return a client that makes its calls over this channel."""
        return Csi(cast("Any", self))

    def close(self) -> None:
        self._channel.close()
