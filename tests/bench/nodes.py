"""What the number of nodes costs a router: the rows of `make bench-scale` that need no root."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from csi_proto import csi_pb2 as csi
from driver.csi.protocol import NAME_MEMORY
from tests.bench import two_routers
from tests.bench.measures import Figure, name, timed
from tests.bench.routed_nodes import RoutedNodes, Watched, called, capacity, seconds_until
from tests.cluster.machines import MOUNT, create, on, pages
from tests.cluster.many import many
from tests.cluster.simulated import KINDS, VOLUMES, name_of, pool_id
from tests.support.disks import MIB

NODES = 1_000
FEWER = (10, 100)  # for the plot
PAGE = 500  # entries
RESTED = 5.0  # seconds
SOURCE = 3  # the number of a node
ROUNDS = 50
ROLLED_AT_ONCE = 20  # nodes that a rolling update replaces at once
PAUSE = 0.2  # seconds between two such groups
Curves = dict[str, list[tuple[int, float]]]


def measured(count: int = NODES) -> tuple[list[Figure], Curves]:
    """The figures of `count` nodes, and what grows from few to many."""
    curves: Curves = {}
    for number in (*FEWER, count):
        with _routed_nodes(number) as cluster:
            time.sleep(NAME_MEMORY)  # until then a node cannot know that nobody had a name
            for label, value in _growing(cluster):
                curves.setdefault(label, []).append((number, value))
            if number == count:
                figures = list(_figures(cluster))
    return figures, curves


@contextmanager
def _routed_nodes(count: int) -> Iterator[RoutedNodes]:
    with tempfile.TemporaryDirectory(prefix="cl-") as folder, many(Path(folder), count) as cluster:
        yield RoutedNodes(*cluster)


def _growing(cluster: RoutedNodes) -> Iterator[tuple[str, float]]:
    yield "GetCapacity of one node", _median(20, partial(capacity, cluster, 3))
    yield "GetCapacity without a topology", _median(20, partial(capacity, cluster, None))
    yield f"ListVolumes, a page of {PAGE}", _median(20, partial(_page, cluster))
    yield "CreateVolume on a chosen node", _median(20, partial(_created, cluster, chosen=True))
    yield "CreateVolume without a topology", _median(10, partial(_created, cluster, chosen=False))
    yield "CreateSnapshot", _median(10, partial(_snapshot, cluster))


def _figures(cluster: RoutedNodes) -> Iterator[Figure]:
    count = cluster.nodes.count
    yield from _restarted(cluster)
    yield _rest(cluster)
    yield _throughput(cluster)
    yield from _named(cluster)
    yield from _listed(cluster, count * VOLUMES)
    yield from _flap(cluster, count // 2)
    yield from _rolled(cluster)
    yield from two_routers.measured(cluster)


def _restarted(cluster: RoutedNodes) -> Iterator[Figure]:
    """A second router starts, and is ended: the first goes on."""
    cluster.nodes.asked()
    start = time.perf_counter()
    router = cluster.nodes.router()
    took = time.perf_counter() - start
    asked = cluster.nodes.asked()
    note = called(asked)
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
        list(threads.map(partial(capacity, cluster), numbers))
    rate = len(numbers) / (time.perf_counter() - start)
    return Figure("GetCapacity of one node, 8 at once", rate, "in a second", target=">= 500")


def _named(cluster: RoutedNodes) -> Iterator[Figure]:
    """A new volume and a new snapshot, whose names must be nowhere else: on the node itself and
    through the router, by turns.
    """
    node, router = cluster.nodes.controller(SOURCE), cluster.router.controller
    volume = partial(csi.CreateVolumeRequest, volume_capabilities=[MOUNT])
    for method, request in (("CreateVolume", volume), ("CreateSnapshot", _snapshot_request)):
        direct, through = list[float](), list[float]()
        cluster.nodes.asked()
        for _ in range(ROUNDS):
            for stub, times in ((node, direct), (router, through)):
                times.append(timed(partial(getattr(stub, method), request(name=name()))))
        asked = cluster.nodes.asked()
        asked[method] -= ROUNDS
        least, value = statistics.median(direct), statistics.median(through)
        note = f"{value - least:.1f} ms more than the node itself; {ROUNDS} times: {called(asked)}"
        label = {"CreateVolume": "CreateVolume without a topology"}.get(method, method)
        yield Figure(f"{label}, through a router", value, target="<= 2 ms more", note=note)


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
        gone.append(seconds_until(cluster, cluster.nodes.count - 1))
        cluster.nodes.start(number)
        back.append(seconds_until(cluster, cluster.nodes.count))
    yield Figure("a node stops, until the router knows", 1e3 * statistics.median(gone))
    yield Figure("it starts again, until the router knows", 1e3 * statistics.median(back))


def _rolled(cluster: RoutedNodes) -> Iterator[Figure]:
    """All nodes but the first are replaced, some at a time."""
    before, start = cluster.used(), time.perf_counter()
    watched = Watched(cluster)
    for first in range(1, cluster.nodes.count, ROLLED_AT_ONCE):
        numbers = range(first, min(first + ROLLED_AT_ONCE, cluster.nodes.count))
        cluster.nodes.stop(*numbers)
        cluster.nodes.start(*numbers)
        time.sleep(PAUSE)
    rolled = time.perf_counter() - start
    settled = seconds_until(cluster, cluster.nodes.count)
    worst = watched.end()
    note = (
        f"{cluster.used() - before:.1f} s of a processor in {rolled:.0f} s, {watched.failed} failed"
    )
    label = "rolling update of all nodes, GetCapacity p99"
    yield Figure(label, worst, target="<= 100 ms", note=note)
    yield Figure("after the last node, until all are reachable", settled, "s", target="<= 5 s")


def _page(cluster: RoutedNodes) -> object:
    request = csi.ListVolumesRequest(max_entries=PAGE)
    return cluster.router.controller.ListVolumes(request)


def _created(cluster: RoutedNodes, *, chosen: bool) -> object:
    requirements = {"accessibility_requirements": on(name_of(3))} if chosen else {}
    return create(cluster.router, name(), **requirements)


def _snapshot(cluster: RoutedNodes) -> object:
    return cluster.router.controller.CreateSnapshot(_snapshot_request(name()))


def _snapshot_request(name: str) -> csi.CreateSnapshotRequest:
    source = f"{pool_id(SOURCE, KINDS[0])}-{'0' * 32}"
    return csi.CreateSnapshotRequest(name=name, source_volume_id=source)


def _median(times: int, call: Callable[[], object]) -> float:
    """The median, in milliseconds, after a first call that warms up."""
    call()
    return statistics.median(timed(call) for _ in range(times))
