"""One volume through every call of CSI, over a real socket; the pool is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from csi_proto import csi_pb2 as csi
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.model import GIB
from driver.services import server
from tests.support.failing_backend import FailingBackend
from tests.unit.services.served import KEY, MOUNT, NODE, Client, code_of, play

HERE = csi.Topology(segments={KEY: NODE})


def _of_snapshot(snapshot_id: str) -> csi.VolumeContentSource:
    source = csi.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
    return csi.VolumeContentSource(snapshot=source)


def test_a_volume_lives_and_is_used(tmp_path: Path) -> None:
    staging, target = tmp_path / "staging", tmp_path / "target"
    staging.mkdir()

    async def scenario(client: Client) -> None:
        volume_id = (await client.create()).volume_id
        node, controller = client.node, client.controller
        by_id: dict[str, Any] = {"volume_id": volume_id}
        how: dict[str, Any] = {**by_id, "volume_capability": MOUNT}
        await controller.ControllerPublishVolume(
            csi.ControllerPublishVolumeRequest(**how, node_id=NODE), timeout=10
        )
        got = await controller.ControllerGetVolume(
            csi.ControllerGetVolumeRequest(**by_id), timeout=10
        )
        assert list(got.status.published_node_ids) == [NODE]
        assert got.status.volume_condition == csi.VolumeCondition(message="healthy")
        await node.NodeStageVolume(
            csi.NodeStageVolumeRequest(**how, staging_target_path=str(staging)), timeout=10
        )
        await node.NodePublishVolume(
            csi.NodePublishVolumeRequest(
                **how, staging_target_path=str(staging), target_path=str(target)
            ),
            timeout=10,
        )
        assert target.is_dir()
        more = csi.CapacityRange(required_bytes=2 * GIB)
        grown = await controller.ControllerExpandVolume(
            csi.ControllerExpandVolumeRequest(**how, capacity_range=more), timeout=10
        )
        assert (grown.capacity_bytes, grown.node_expansion_required) == (2 * GIB, True)
        grown = await node.NodeExpandVolume(
            csi.NodeExpandVolumeRequest(**how, volume_path=str(target), capacity_range=more),
            timeout=10,
        )
        assert grown.capacity_bytes == 2 * GIB
        stats = await node.NodeGetVolumeStats(
            csi.NodeGetVolumeStatsRequest(**by_id, volume_path=str(target)), timeout=10
        )
        assert [usage.unit for usage in stats.usage] == [1, 2]
        assert not stats.volume_condition.abnormal
        health = await node.NodeGetVolumeHealth(
            csi.NodeGetVolumeHealthRequest(**by_id, volume_publish_path=str(target)), timeout=10
        )
        assert health.volume_health == csi.VolumeHealth(volume_id=volume_id)
        delete = csi.DeleteVolumeRequest(**by_id)
        code, _ = await code_of(controller.DeleteVolume(delete, timeout=10))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        for _ in range(2):
            await node.NodeUnpublishVolume(
                csi.NodeUnpublishVolumeRequest(**by_id, target_path=str(target)), timeout=10
            )
            await node.NodeUnstageVolume(
                csi.NodeUnstageVolumeRequest(**by_id, staging_target_path=str(staging)), timeout=10
            )
            await controller.ControllerUnpublishVolume(
                csi.ControllerUnpublishVolumeRequest(**by_id, node_id=NODE), timeout=10
            )
        assert not target.exists()
        for _ in range(2):
            await controller.DeleteVolume(delete, timeout=10)
        assert not list(client.pool.backend.images())

    play(scenario)


def test_a_snapshot_lives_and_is_restored() -> None:
    async def scenario(client: Client) -> None:
        source = (await client.create()).volume_id
        controller = client.controller
        wanted = csi.CreateSnapshotRequest(name="s", source_volume_id=source)
        snapshot = (await controller.CreateSnapshot(wanted, timeout=10)).snapshot
        assert list(snapshot.accessible_topology) == [HERE]
        only = csi.TopologyRequirement(requisite=[HERE])
        wanted.accessibility_requirements.CopyFrom(only)
        again = (await controller.CreateSnapshot(wanted, timeout=10)).snapshot
        assert again.snapshot_id == snapshot.snapshot_id
        assert not again.accessible_topology
        request = csi.GetSnapshotRequest(snapshot_id=snapshot.snapshot_id)
        assert (await controller.GetSnapshot(request, timeout=10)).snapshot == snapshot
        page = await controller.ListSnapshots(
            csi.ListSnapshotsRequest(source_volume_id=source), timeout=10
        )
        assert [entry.snapshot for entry in page.entries] == [snapshot]
        nothing = csi.ListSnapshotsRequest(snapshot_id="none")
        assert not (await controller.ListSnapshots(nothing, timeout=10)).entries
        copy = await client.create("copy", volume_content_source=_of_snapshot(snapshot.snapshot_id))
        assert copy.content_source == _of_snapshot(snapshot.snapshot_id)
        delete = csi.DeleteSnapshotRequest(snapshot_id=snapshot.snapshot_id)
        for _ in range(2):
            await controller.DeleteSnapshot(delete, timeout=10)
        code, _ = await code_of(controller.GetSnapshot(request, timeout=10))
        assert code is grpc.StatusCode.NOT_FOUND

    play(scenario)


def test_a_group_lives_whole() -> None:
    async def scenario(client: Client) -> None:
        sources = [(await client.create(name)).volume_id for name in ("a", "b")]
        wanted = csi.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=sources)
        group = (await client.group.CreateVolumeGroupSnapshot(wanted, timeout=10)).group_snapshot
        assert {snapshot.source_volume_id for snapshot in group.snapshots} == set(sources)
        members = [snapshot.snapshot_id for snapshot in group.snapshots]
        request = csi.GetVolumeGroupSnapshotRequest(
            group_snapshot_id=group.group_snapshot_id, snapshot_ids=members
        )
        got = (await client.group.GetVolumeGroupSnapshot(request, timeout=10)).group_snapshot
        assert got == group
        alone = csi.DeleteSnapshotRequest(snapshot_id=members[0])
        code, _ = await code_of(client.controller.DeleteSnapshot(alone, timeout=10))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        delete = csi.DeleteVolumeGroupSnapshotRequest(
            group_snapshot_id=group.group_snapshot_id, snapshot_ids=members
        )
        for _ in range(2):
            await client.group.DeleteVolumeGroupSnapshot(delete, timeout=10)
        code, _ = await code_of(client.group.GetVolumeGroupSnapshot(request, timeout=10))
        assert code is grpc.StatusCode.NOT_FOUND

    play(scenario)


def test_what_is_ill_is_said_to_be() -> None:
    async def scenario(client: Client) -> None:
        well, ill = [(await client.create(name)).volume_id for name in ("well", "ill")]
        backend = client.pool.backend
        assert isinstance(backend, FailingBackend)
        [image] = [image for image in backend.images() if str(image.id) == ill]
        backend.set_faults(
            image.id, Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it coughs", Severity.INACCESSIBLE)
        )
        backend.set_faults(None, Fault(FaultKind.POOL_NEARLY_FULL, "1 % is left"))
        controller = client.controller
        page = await controller.ControllerListVolumeHealth(
            csi.ControllerListVolumeHealthRequest(), timeout=10
        )
        [entry] = page.entries
        assert entry.volume_id == ill
        assert entry.health_statuses[0].status == csi.INACCESSIBLE
        for volume_id, count in ((well, 0), (ill, 1)):
            request = csi.ControllerGetVolumeHealthRequest(volume_id=volume_id)
            answer = await controller.ControllerGetVolumeHealth(request, timeout=10)
            assert len(answer.volume_health.health_statuses) == count
        volumes = await controller.ListVolumes(csi.ListVolumesRequest(), timeout=10)
        abnormal = {
            entry.volume.volume_id: entry.status.volume_condition for entry in volumes.entries
        }
        assert not abnormal[well].abnormal
        assert abnormal[ill].message == "FilesystemShutDown: it coughs"
        storage = await client.node.NodeGetStorageHealth(
            csi.NodeGetStorageHealthRequest(), timeout=10
        )
        assert [fault.reason for fault in storage.backend_health] == ["PoolNearlyFull"]

    play(scenario)


def test_a_capability_that_a_volume_has_is_confirmed() -> None:
    async def scenario(client: Client) -> None:
        volume = await client.create()
        request = csi.ValidateVolumeCapabilitiesRequest(
            volume_id=volume.volume_id, volume_capabilities=[MOUNT]
        )
        answer = await client.controller.ValidateVolumeCapabilities(request, timeout=10)
        assert list(answer.confirmed.volume_capabilities) == [MOUNT]

    play(scenario)


def test_the_driver_can_ask_itself() -> None:
    async def scenario(client: Client) -> None:
        assert await server.probe(client.path, 10)
        assert not await server.probe(client.path.with_name("nobody"), 0.5)

    play(scenario)
