"""What the number of nodes costs a router: the rows of `make bench-scale` that need no root."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import psutil

from csi_proto import csi_pb2 as csi
from tests.bench.measures import Figure, name, timed
from tests.cluster.machines import KEY, RouterProcess, create, on, pages
from tests.cluster.many import ManyNodes, many, pools_of
from tests.cluster.simulated import KINDS, VOLUMES, name_of
from tests.support.disks import MIB
from tests.support.waiting import wait_until

NODES = 1_000
FEWER = (10, 100)  # for the plot
PAGE = 500  # entries
RESTED = 5.0  # seconds
TOGETHER = 20  # nodes that a rolling update replaces at once
PAUSE = 0.2  # seconds between two such groups
Curves = dict[str, list[tuple[int, float]]]


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


def measured(count: int = NODES) -> tuple[list[Figure], Curves]:
    """The figures of `count` nodes, and what grows from few to many."""
    curves: Curves = {}
    for number in (*FEWER, count):
        with _routed_nodes(number) as cluster:
            for label, value in _growing(cluster):
                curves.setdefault(label, []).append((number, value))
            if number == count:
                figures = list(_figures(cluster))
    return figures, curves


@contextmanager
def _routed_nodes(count: int) -> Iterator[RoutedNodes]:
    with tempfile.TemporaryDirectory(prefix="cl-") as where, many(Path(where), count) as cluster:
        yield RoutedNodes(*cluster)


def _growing(cluster: RoutedNodes) -> Iterator[tuple[str, float]]:
    yield "GetCapacity of one node", _median(20, partial(_capacity, cluster, 3))
    yield "GetCapacity without a topology", _median(20, partial(_capacity, cluster, None))
    yield f"ListVolumes, a page of {PAGE}", _median(20, partial(_page, cluster))
    yield "CreateVolume on a chosen node", _median(20, partial(_created, cluster, chosen=True))
    yield "CreateVolume without a topology", _median(10, partial(_created, cluster, chosen=False))


def _figures(cluster: RoutedNodes) -> Iterator[Figure]:
    count = cluster.nodes.count
    yield from _restarted(cluster)
    yield _rest(cluster)
    yield _throughput(cluster)
    yield from _listed(cluster, count * VOLUMES)
    yield from _flap(cluster, count // 2)
    yield from _rolled(cluster)


def _restarted(cluster: RoutedNodes) -> Iterator[Figure]:
    """A second router starts, and is ended: the first goes on."""
    cluster.nodes.asked()
    start = time.perf_counter()
    router = cluster.nodes.router()
    took = time.perf_counter() - start
    asked = cluster.nodes.asked()
    note = ", ".join(f"{number:,} {call}" for call, number in asked.items())
    yield Figure("router, from start to all nodes", took, "s", target="<= 15 s", note=note)
    pss = psutil.Process(router.pid).memory_full_info().pss
    router.stop()
    yield Figure("router, memory (PSS)", pss / MIB, "MiB", target="<= 256 MiB")


def _rest(cluster: RoutedNodes) -> Figure:
    before, start = cluster.used(), time.monotonic()
    time.sleep(RESTED)
    share = 100 * (cluster.used() - before) / (time.monotonic() - start)
    return Figure("router, at rest", share, "% of a processor", target="<= 25 %")


def _throughput(cluster: RoutedNodes) -> Figure:
    numbers = range(4 * cluster.nodes.count)
    start = time.perf_counter()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(partial(_capacity, cluster), numbers))
    rate = len(numbers) / (time.perf_counter() - start)
    return Figure("GetCapacity of one node, 8 at once", rate, "in a second", target=">= 500")


def _listed(cluster: RoutedNodes, total: int) -> Iterator[Figure]:
    for most, text in ((PAGE, f"in pages of {PAGE}"), (0, "no page size given")):
        cluster.nodes.asked()
        start = time.perf_counter()
        numbers = [len(page) for page in pages(cluster.router, most)]
        took = time.perf_counter() - start
        assert sum(numbers) == total
        asked = cluster.nodes.asked()["ListVolumes"]
        note = f"{len(numbers)} pages, {asked:,} calls to nodes"
        yield Figure(f"ListVolumes of {total:,}, {text}", took, "s", target="<= 10 s", note=note)


def _flap(cluster: RoutedNodes, number: int) -> Iterator[Figure]:
    """A node goes and comes back; the figures are medians of three times."""
    gone, back = [], []
    for _ in range(3):
        cluster.nodes.stop(number)
        gone.append(_seconds_until(cluster, cluster.nodes.count - 1))
        cluster.nodes.start(number)
        back.append(_seconds_until(cluster, cluster.nodes.count))
    yield Figure("a node stops, until the router knows", 1e3 * statistics.median(gone))
    yield Figure("it starts again, until the router knows", 1e3 * statistics.median(back))


def _seconds_until(cluster: RoutedNodes, nodes: int) -> float:
    start = time.perf_counter()
    wait_until(lambda: pools_of(cluster.router) == len(KINDS) * nodes, 60)
    return time.perf_counter() - start


@dataclass
class _Watched:
    """Asks a node that is not touched for its capacity, all the time, and keeps how long it took."""

    cluster: RoutedNodes
    times: list[float] = field(default_factory=list)
    failed: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.times.append(timed(partial(_capacity, self.cluster, 0)))
            except grpc.RpcError:
                self.failed += 1
            time.sleep(0.01)


def _rolled(cluster: RoutedNodes) -> Iterator[Figure]:
    """All nodes but the first are replaced, some at a time."""
    watched = _Watched(cluster)
    thread = threading.Thread(target=watched.run)
    before, start = cluster.used(), time.perf_counter()
    thread.start()
    for first in range(1, cluster.nodes.count, TOGETHER):
        numbers = range(first, min(first + TOGETHER, cluster.nodes.count))
        cluster.nodes.stop(*numbers)
        cluster.nodes.start(*numbers)
        time.sleep(PAUSE)
    rolled = time.perf_counter() - start
    settled = _seconds_until(cluster, cluster.nodes.count)
    watched.ended.set()
    thread.join()
    worst = statistics.quantiles(watched.times, n=100)[98]
    note = (
        f"{cluster.used() - before:.1f} s of a processor in {rolled:.0f} s, {watched.failed} failed"
    )
    label = "rolling update of all nodes, GetCapacity p99"
    yield Figure(label, worst, target="<= 100 ms", note=note)
    yield Figure("after the last node, until all are reachable", settled, "s", target="<= 5 s")


def _capacity(cluster: RoutedNodes, number: int | None) -> int:
    request = csi.GetCapacityRequest(parameters={"pool": "fast"})
    if number is not None:
        node = name_of(number % cluster.nodes.count)
        request.accessible_topology.segments[KEY] = node
    return cluster.router.controller.GetCapacity(request).available_capacity


def _page(cluster: RoutedNodes) -> object:
    request = csi.ListVolumesRequest(max_entries=PAGE)
    return cluster.router.controller.ListVolumes(request)


def _created(cluster: RoutedNodes, *, chosen: bool) -> object:
    where = {"accessibility_requirements": on(name_of(3))} if chosen else {}
    return create(cluster.router, name(), **where)


def _median(times: int, call: Callable[[], object]) -> float:
    """The median, in milliseconds, after a first call that warms up."""
    call()
    return statistics.median(timed(call) for _ in range(times))
