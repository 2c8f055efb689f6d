"""What a router adds to a call: the node is asked directly and through it, by turns."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from csi_proto import csi_pb2 as csi
from tests.bench.measures import Figure, name, timed
from tests.cluster.machines import RoutedCluster, create, on
from tests.support.driver_process import DriverProcess

ONE = {"a": ["sim=memory:100TiB"]}
TARGET = "<= 2 ms more"


def routed(rounds: int) -> Iterator[Figure]:
    """A call about one volume; a create for the node that the scheduler chose, and for any node."""
    with (
        tempfile.TemporaryDirectory(prefix="cellar-bench-") as base,
        RoutedCluster(Path(base), ONE) as cluster,
    ):
        volume_id = create(cluster.router, name()).volume_id

        def get_volume(driver: DriverProcess) -> object:
            request = csi.ControllerGetVolumeRequest(volume_id=volume_id)
            return driver.controller.ControllerGetVolume(request)

        def chosen(driver: DriverProcess) -> object:
            return create(driver, name(), accessibility_requirements=on("a"))

        def anywhere(driver: DriverProcess) -> object:
            return create(driver, name())

        yield _compared("ControllerGetVolume", cluster, get_volume, rounds)
        yield _compared("CreateVolume, simulated", cluster, chosen, rounds)
        yield _compared("CreateVolume without topology, simulated", cluster, anywhere, rounds)


def _compared(
    subject: str, cluster: RoutedCluster, call: Callable[[DriverProcess], object], rounds: int
) -> Figure:
    direct, through = [], []
    for _ in range(10 * rounds):
        direct.append(timed(lambda: call(cluster.nodes["a"])))
        through.append(timed(lambda: call(cluster.router)))
    least, value = statistics.median(direct), statistics.median(through)
    note = f"{value - least:.2f} ms more than the node itself"
    return Figure(f"routed {subject}", value, floor=least, target=TARGET, note=note)
