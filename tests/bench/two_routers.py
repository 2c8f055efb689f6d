"""Two routers of many nodes: both are asked, names meet, and one is killed and started again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import grpc

from tests.bench.measures import Figure, name
from tests.bench.routed_nodes import RoutedNodes, Watched, called, capacity, seconds_until
from tests.cluster.machines import create
from tests.support.waiting import wait_until

THREADS = 4  # of each router
NAMES = 10  # that both create at once
SECONDS = 30.0  # until a name that both create is there


def measured(cluster: RoutedNodes) -> Iterator[Figure]:
    """The figures of a second router beside that of the cluster."""
    second = replace(cluster, router=cluster.nodes.router())
    yield _throughput(cluster, second)
    yield _names(cluster, second)
    yield from _killed(cluster, second)
    second.router.stop()


def _throughput(*clusters: RoutedNodes) -> Figure:
    numbers = range(2 * clusters[0].nodes.count)

    def ask(cluster: RoutedNodes) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(partial(capacity, cluster), numbers))

    start = time.perf_counter()
    with ThreadPoolExecutor(len(clusters)) as both:
        list(both.map(ask, clusters))
    rate = len(clusters) * len(numbers) / (time.perf_counter() - start)
    label = f"two routers, GetCapacity of one node, {THREADS} at once each"
    return Figure(label, rate, "in a second")


def _names(*clusters: RoutedNodes) -> Figure:
    """Both routers create the same names at once, as no provisioner does: each is made once."""
    clusters[0].nodes.asked()
    start, twice = time.perf_counter(), 0
    with ThreadPoolExecutor(len(clusters)) as both:
        for _ in range(NAMES):
            volume_ids = set(both.map(partial(_created, name=name()), clusters))
            twice += len(volume_ids) > 1
    took = (time.perf_counter() - start) / NAMES
    note = f"{1e3 * took:.0f} ms for each of {NAMES}; {called(clusters[0].nodes.asked())}"
    label = "two routers create one name at once: volumes that were made twice"
    return Figure(label, twice, "", target="0", note=note)


def _created(cluster: RoutedNodes, name: str) -> str:
    """Create a volume, again if the name is busy, as csi-provisioner does; return its id."""

    def created() -> str | None:
        try:
            return create(cluster.router, name).volume_id
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise
            return None

    return wait_until(created, SECONDS)


def _killed(cluster: RoutedNodes, second: RoutedNodes) -> Iterator[Figure]:
    """One router dies and comes back; the other goes on."""
    cluster.nodes.asked()
    watched = Watched(cluster)
    second.router.kill()
    start = time.perf_counter()
    second.router.start()
    seconds_until(second, cluster.nodes.count)
    took = time.perf_counter() - start
    worst = watched.end()
    yield Figure(
        "one of two routers is killed, from its start to all nodes",
        took,
        "s",
        target="<= 15 s",
        note=called(cluster.nodes.asked()),
    )
    note = f"{len(watched.times):,} calls, {watched.failed} failed"
    yield Figure("meanwhile, GetCapacity of the other, p99", worst, target="<= 100 ms", note=note)
