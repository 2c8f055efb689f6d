"""SnapshotMetadata through the router: what the node says, as it says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from tests.cluster.machines import GIB, RoutedCluster, code_of, create, on
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

Code = grpc.StatusCode
POOLS = {name: ["sim=memory:100GiB"] for name in ("a", "b")}


@pytest.fixture
def cluster(where: Path) -> Iterator[RoutedCluster]:
    with RoutedCluster(where, POOLS) as cluster:
        yield cluster
    assert not [log for log in where.rglob("*.log") if "Traceback" in log.read_text()]


def two(cluster: RoutedCluster, node: str) -> tuple[str, str]:
    """Snapshots of a volume on that node, which has a filesystem, and grew in between."""
    volume = create(cluster.router, f"on-{node}", accessibility_requirements=on(node))
    base = snapped(cluster.router, f"base-{node}", volume.volume_id)
    grow = csi.ControllerExpandVolumeRequest(
        volume_id=volume.volume_id, capacity_range=csi.CapacityRange(required_bytes=2 * GIB)
    )
    cluster.router.controller.ControllerExpandVolume(grow)
    return base, snapped(cluster.router, f"target-{node}", volume.volume_id)


def snapped(driver: DriverProcess, name: str, volume_id: str) -> str:
    request = csi.CreateSnapshotRequest(name=name, source_volume_id=volume_id)
    return driver.controller.CreateSnapshot(request).snapshot.snapshot_id


def allocated(driver: DriverProcess, snapshot_id: str, **more: Any) -> list[Any]:
    request = csi.GetMetadataAllocatedRequest(snapshot_id=snapshot_id, **more)
    return list(driver.metadata.GetMetadataAllocated(request))


def delta(driver: DriverProcess, base: str, target: str, **more: Any) -> list[Any]:
    request = csi.GetMetadataDeltaRequest(base_snapshot_id=base, target_snapshot_id=target, **more)
    return list(driver.metadata.GetMetadataDelta(request))


def test_the_router_promises_what_its_nodes_do(cluster: RoutedCluster) -> None:
    for driver in (cluster.router, cluster.nodes["a"]):
        response = driver.identity.GetPluginCapabilities(csi.GetPluginCapabilitiesRequest())
        kinds = {capability.service.type for capability in response.capabilities}
        assert csi.PluginCapability.Service.SNAPSHOT_METADATA_SERVICE in kinds


def test_the_node_of_the_snapshot_answers(cluster: RoutedCluster) -> None:
    for name, node in cluster.nodes.items():
        base, target = two(cluster, name)
        allocated_ranges = allocated(cluster.router, target)
        assert allocated_ranges == allocated(node, target)
        assert sum(len(message.block_metadata) for message in allocated_ranges) > 0
        changed = delta(cluster.router, base, target)
        assert changed == delta(node, base, target)
        [grown] = changed[-1].block_metadata
        assert (grown.byte_offset, grown.size_bytes) == (GIB, GIB)


def test_errors_come_as_the_node_gave_them(cluster: RoutedCluster) -> None:
    base, target = two(cluster, "a")
    elsewhere, _ = two(cluster, "b")
    gone = base[:13] + "0" * 32
    wrong: list[tuple[Code, dict[str, Any]]] = [
        (Code.INVALID_ARGUMENT, {"target": ""}),
        (Code.INVALID_ARGUMENT, {"base": elsewhere}),
        (Code.INVALID_ARGUMENT, {"base": target, "target": base}),
        (Code.INVALID_ARGUMENT, {"max_results": -1}),
        (Code.NOT_FOUND, {"target": gone}),
        (Code.NOT_FOUND, {"target": "not one of ours"}),
        (Code.OUT_OF_RANGE, {"starting_offset": 2 * GIB + 1}),
    ]
    for code, fields in wrong:
        said = {"base": base, "target": target, **fields}
        for driver in (cluster.router, cluster.nodes["a"]):
            assert code_of(lambda driver=driver, how=said: delta(driver, **how)) is code, fields  # type: ignore[misc]


def test_a_node_that_is_away_takes_only_its_own_with_it(cluster: RoutedCluster) -> None:
    (base, target), (other, _) = two(cluster, "a"), two(cluster, "b")
    cluster.nodes["a"].kill()
    wait_until(lambda: code_of(lambda: allocated(cluster.router, base)) is Code.UNAVAILABLE)
    assert code_of(lambda: delta(cluster.router, base, target)) is Code.UNAVAILABLE
    assert allocated(cluster.router, other)


def test_streams_are_in_the_log_of_both(cluster: RoutedCluster) -> None:
    base, _ = two(cluster, "a")
    allocated(cluster.router, base)
    for driver in (cluster.router, cluster.nodes["a"]):
        wait_until(lambda driver=driver: "GetMetadataAllocated OK" in driver.log.read_text())  # type: ignore[misc]
