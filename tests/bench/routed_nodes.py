"""A cluster of many simulated nodes behind routers, and what is asked of it all the time."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import grpc
import psutil

from csi_proto import csi_pb2 as csi
from tests.bench.measures import timed
from tests.cluster.machines import KEY, RouterProcess
from tests.cluster.many import ManyNodes, pools_of
from tests.cluster.simulated import KINDS, name_of
from tests.support.waiting import wait_until

PAUSE = 0.01  # seconds between two calls of one that watches


@dataclass(frozen=True)
class RoutedNodes:
    """A cluster, and a router that reaches it."""

    nodes: ManyNodes
    router: RouterProcess

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.router.pid)

    def used(self) -> float:
        """Seconds of a processor that the router has used."""
        times = self.process.cpu_times()
        return times.user + times.system


@dataclass
class Watched:
    """Asks a router for the capacity of one node, all the time until `end`."""

    cluster: RoutedNodes
    times: list[float] = field(default_factory=list)
    failed: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> float:
        """Return the 99th percentile of the times, in milliseconds."""
        self.ended.set()
        self._thread.join()
        return statistics.quantiles(self.times, n=100)[98]

    def _run(self) -> None:
        while not self.ended.is_set():
            try:
                self.times.append(timed(partial(capacity, self.cluster, 0)))
            except grpc.RpcError:
                self.failed += 1
            time.sleep(PAUSE)


def capacity(cluster: RoutedNodes, number: int | None) -> int:
    """Ask the router for the capacity of a node; None: of the cluster."""
    request = csi.GetCapacityRequest(parameters={"pool": "fast"})
    if number is not None:
        node = name_of(number % cluster.nodes.count)
        request.accessible_topology.segments[KEY] = node
    return cluster.router.controller.GetCapacity(request).available_capacity


def seconds_until(cluster: RoutedNodes, nodes: int) -> float:
    """Wait until the router reaches so many nodes, and return how long it took."""
    start = time.perf_counter()
    wait_until(lambda: pools_of(cluster.router) == len(KINDS) * nodes, 60)
    return time.perf_counter() - start


def called(asked: Counter[str]) -> str:
    """Return how often which methods of nodes were called, for people."""
    return ", ".join(f"{number:,} {call}" for call, number in asked.items() if number)
