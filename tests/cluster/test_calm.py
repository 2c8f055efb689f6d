"""A cluster on which nothing goes wrong: where volumes go, and what the router says of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.csi.identity import controller_capabilities
from tests.cluster.machines import (
    GIB,
    KEY,
    MOUNT,
    RoutedCluster,
    code_of,
    create,
    node_of,
    on,
    pages,
)
from tests.support.waiting import wait_until

Code = grpc.StatusCode


@pytest.fixture
def name() -> str:
    return f"pvc-{uuid.uuid4()}"


@pytest.fixture(autouse=True)
def emptied(cluster: RoutedCluster) -> Iterator[None]:
    yield
    controller = cluster.router.controller
    for entry in controller.ListSnapshots(csi.ListSnapshotsRequest()).entries:
        if not entry.snapshot.group_snapshot_id:
            delete = csi.DeleteSnapshotRequest(snapshot_id=entry.snapshot.snapshot_id)
            controller.DeleteSnapshot(delete)
    for volume_id in cluster.router.volumes():
        controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=volume_id))


def placed(cluster: RoutedCluster, name: str, size: csi.CapacityRange) -> csi.Volume:
    """A volume, once the router was told of the room that it took."""
    ask = cluster.router.controller.GetCapacity
    before = {node: ask(capacity_at(node)).available_capacity for node in ("a", "b", "c")}
    volume = create(cluster.router, name, capacity_range=size)
    node = node_of(volume)
    wait_until(lambda: ask(capacity_at(node)).available_capacity < before[node])
    return volume


def capacity_at(node: str) -> csi.GetCapacityRequest:
    return csi.GetCapacityRequest(accessible_topology=csi.Topology(segments={KEY: node}))


def snapshot(cluster: RoutedCluster, name: str, volume: csi.Volume) -> csi.Snapshot:
    request = csi.CreateSnapshotRequest(name=name, source_volume_id=volume.volume_id)
    return cluster.router.controller.CreateSnapshot(request).snapshot


def restored(source: csi.Snapshot) -> csi.VolumeContentSource:
    return csi.VolumeContentSource(
        snapshot=csi.VolumeContentSource.SnapshotSource(snapshot_id=source.snapshot_id)
    )


@pytest.mark.parametrize("node", ["a", "b", "c"])
def test_a_volume_goes_to_the_node_that_was_chosen(
    cluster: RoutedCluster, name: str, node: str
) -> None:
    requirements = on(node, "a", "b", "c")
    volume = create(cluster.router, name, accessibility_requirements=requirements)
    assert node_of(volume) == node
    assert cluster.nodes[node].volumes() == [volume.volume_id]
    assert create(cluster.router, name, accessibility_requirements=requirements) == volume


def test_a_full_or_unknown_choice_lets_the_scheduler_choose_again(
    cluster: RoutedCluster, name: str
) -> None:
    for node, size in (("a", 200 * GIB), ("z", GIB)):
        request = csi.CreateVolumeRequest(
            name=name,
            volume_capabilities=[MOUNT],
            capacity_range=csi.CapacityRange(required_bytes=size),
            accessibility_requirements=on(node, "b"),
        )
        code = code_of(lambda request=request: cluster.router.controller.CreateVolume(request))  # type: ignore[misc]
        assert code is Code.RESOURCE_EXHAUSTED
    assert cluster.router.volumes() == []


def test_without_a_choice_free_space_decides_and_a_repeat_finds_its_volume(
    cluster: RoutedCluster,
) -> None:
    names = [f"pvc-{uuid.uuid4()}" for _ in range(6)]
    size = csi.CapacityRange(required_bytes=20 * GIB)
    first = [placed(cluster, name, size) for name in names]
    assert {node_of(volume) for volume in first} == {"a", "b", "c"}
    assert [create(cluster.router, name, capacity_range=size) for name in names] == first


def test_a_restore_goes_to_its_source_or_nowhere(cluster: RoutedCluster, name: str) -> None:
    volume = create(cluster.router, name, accessibility_requirements=on("b"))
    source = restored(snapshot(cluster, "s", volume))
    copy = create(cluster.router, f"{name}-copy", volume_content_source=source)
    assert node_of(copy) == "b"
    elsewhere = {"volume_content_source": source, "accessibility_requirements": on("c", "a")}
    code = code_of(lambda: create(cluster.router, f"{name}-far", **elsewhere))
    assert code is Code.RESOURCE_EXHAUSTED
    allowed = {"volume_content_source": source, "accessibility_requirements": on("c", "b")}
    assert node_of(create(cluster.router, f"{name}-near", **allowed)) == "b"


def test_a_snapshots_name_is_taken_on_all_nodes(cluster: RoutedCluster, name: str) -> None:
    first, second = (
        create(cluster.router, f"{name}-{node}", accessibility_requirements=on(node))
        for node in "ab"
    )
    taken = snapshot(cluster, name, first)
    assert snapshot(cluster, name, first).snapshot_id == taken.snapshot_id
    assert code_of(lambda: snapshot(cluster, name, second)) is Code.ALREADY_EXISTS


def test_lists_are_merged_and_paged_without_a_gap(cluster: RoutedCluster, name: str) -> None:
    created = {
        create(cluster.router, f"{name}-{n}", accessibility_requirements=on("abc"[n % 3])).volume_id
        for n in range(10)
    }
    for most in (1, 3, 4, 10, 0):
        listed = list(pages(cluster.router, most))
        assert [volume_id for page in listed for volume_id in page] == sorted(created)
        assert all(len(page) <= (most or 10) for page in listed)


def test_a_token_of_somebody_else_is_refused(cluster: RoutedCluster) -> None:
    request = csi.ListVolumesRequest(starting_token="page-2")
    assert code_of(lambda: cluster.router.controller.ListVolumes(request)) is Code.ABORTED


def test_a_list_by_an_id_that_is_none_of_ours_is_empty(cluster: RoutedCluster) -> None:
    request = csi.ListSnapshotsRequest(snapshot_id="other")
    assert not cluster.router.controller.ListSnapshots(request).entries


def test_free_space_is_that_of_the_node_and_follows_at_once(
    cluster: RoutedCluster, name: str
) -> None:
    controller = cluster.router.controller
    assert controller.GetCapacity(capacity_at("z")).available_capacity == 0
    wait_until(lambda: controller.GetCapacity(capacity_at("a")).available_capacity == 100 * GIB)
    size = csi.CapacityRange(required_bytes=60 * GIB)
    create(cluster.router, name, capacity_range=size, accessibility_requirements=on("a"))
    wait_until(lambda: controller.GetCapacity(capacity_at("a")).available_capacity == 40 * GIB, 1)
    assert controller.GetCapacity(capacity_at("b")).available_capacity == 100 * GIB
    direct = cluster.nodes["a"].controller.GetCapacity(capacity_at("a"))
    assert controller.GetCapacity(capacity_at("a")) == direct


def test_errors_come_back_word_for_word(cluster: RoutedCluster, name: str) -> None:
    volume = create(cluster.router, name, accessibility_requirements=on("c"))
    request = csi.ControllerExpandVolumeRequest(
        volume_id=volume.volume_id, capacity_range=csi.CapacityRange(required_bytes=500 * GIB)
    )
    said = []
    for driver in (cluster.router, cluster.nodes["c"]):
        with pytest.raises(grpc.RpcError) as caught:
            driver.controller.ControllerExpandVolume(request)
        said.append((caught.value.code(), caught.value.details()))
    assert said[0] == said[1]
    assert said[0][0] is Code.OUT_OF_RANGE


def test_ids_that_are_none_of_ours_are_gone_or_unknown(cluster: RoutedCluster) -> None:
    controller = cluster.router.controller
    controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id="other"))
    controller.DeleteSnapshot(csi.DeleteSnapshotRequest(snapshot_id="other"))
    get = csi.ControllerGetVolumeRequest(volume_id="other")
    assert code_of(lambda: controller.ControllerGetVolume(get)) is Code.NOT_FOUND
    empty = csi.DeleteVolumeRequest()
    assert code_of(lambda: controller.DeleteVolume(empty)) is Code.INVALID_ARGUMENT


def test_every_node_of_the_cluster_may_be_published_to_and_no_other(
    cluster: RoutedCluster, name: str
) -> None:
    volume = create(cluster.router, name, accessibility_requirements=on("a"))
    controller = cluster.router.controller
    expected = {"z": Code.NOT_FOUND, "b": Code.OK, "c": Code.FAILED_PRECONDITION, "a": Code.OK}
    for node, code in expected.items():  # `a` has the pool: only there it can be used
        request = csi.ControllerPublishVolumeRequest(
            volume_id=volume.volume_id, node_id=node, volume_capability=MOUNT
        )
        actual = code_of(lambda request=request: controller.ControllerPublishVolume(request))  # type: ignore[misc]
        assert actual is code
    gone = csi.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id)
    controller.ControllerUnpublishVolume(gone)


@pytest.mark.parametrize("nodes", ["aa", "ab", "abc"])
def test_a_group_is_taken_on_one_node_or_over_several(
    cluster: RoutedCluster, name: str, nodes: str
) -> None:
    far, *sources = (
        create(cluster.router, f"{name}-{n}", accessibility_requirements=on(node)).volume_id
        for n, node in enumerate(f"b{nodes}")
    )
    group = cluster.router.group
    within = csi.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=sources)
    created = group.CreateVolumeGroupSnapshot(within).group_snapshot
    assert sorted(member.source_volume_id for member in created.snapshots) == sorted(sources)
    assert {member.group_snapshot_id for member in created.snapshots} == {created.group_snapshot_id}
    assert created.ready_to_use
    assert {member.creation_time.seconds for member in created.snapshots} == {
        created.creation_time.seconds
    }
    assert group.CreateVolumeGroupSnapshot(within).group_snapshot == created
    other = csi.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=[far])
    assert code_of(lambda: group.CreateVolumeGroupSnapshot(other)) is Code.ALREADY_EXISTS
    ids = [member.snapshot_id for member in created.snapshots]
    for members in ([], ids):
        get = csi.GetVolumeGroupSnapshotRequest(
            group_snapshot_id=created.group_snapshot_id, snapshot_ids=members
        )
        assert group.GetVolumeGroupSnapshot(get).group_snapshot == created
        delete = csi.DeleteVolumeGroupSnapshotRequest(
            group_snapshot_id=created.group_snapshot_id, snapshot_ids=members
        )
        group.DeleteVolumeGroupSnapshot(delete)
        assert code_of(lambda get=get: group.GetVolumeGroupSnapshot(get)) is not Code.OK  # type: ignore[misc]
        created = group.CreateVolumeGroupSnapshot(within).group_snapshot
    group.DeleteVolumeGroupSnapshot(delete)


def test_capabilities_are_those_of_the_release(cluster: RoutedCluster) -> None:
    request = csi.ControllerGetCapabilitiesRequest()
    response = cluster.router.controller.ControllerGetCapabilities(request)
    assert response == controller_capabilities(attach=True)


def test_the_pools_of_all_nodes_are_listed(cluster: RoutedCluster) -> None:
    assert cluster.router.channel
    stub = cellar_pb2_grpc.NodeStub(cluster.router.channel)
    pools = stub.ListPools(cellar.ListPoolsRequest(), timeout=5).pools
    assert [(pool.node, pool.name) for pool in pools] == [(node, "sim") for node in "abc"]


def test_one_name_through_two_routers_at_once_is_one_volume(cluster: RoutedCluster) -> None:
    routers = [cluster.router, cluster.another()]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            name = f"pvc-{uuid.uuid4()}"
            created = [threads.submit(create, routers[n % 2], name) for n in range(4)]
            ids = {future.result().volume_id for future in created if not future.exception()}
            errors = [error for future in created if (error := future.exception())]
            assert len(ids) == 1
            assert {error.code() for error in errors} <= {Code.ABORTED}  # type: ignore[attr-defined]
            volumes = [volume_id for node in cluster.nodes.values() for volume_id in node.volumes()]
            assert volumes == list(ids)
            cluster.router.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=volumes[0]))
