"""The Node service, over a real socket; the pool is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from csi_proto import csi_pb2 as csi
from driver.core.model import GIB
from tests.unit.services.served import KEY, MOUNT, NODE, ServedClient, code_of, names_of, play

TOPOLOGY = csi.Topology(segments={KEY: NODE})


def test_the_node_declares_all_but_mount_groups() -> None:
    async def scenario(client: ServedClient) -> None:
        kind = csi.NodeServiceCapability.RPC
        request = csi.NodeGetCapabilitiesRequest()
        answer = await client.node.NodeGetCapabilities(request, timeout=10)
        everything = set(kind.Type.keys())
        assert names_of(answer.capabilities, kind) == everything - {"UNKNOWN", "VOLUME_MOUNT_GROUP"}
        group = csi.GroupControllerServiceCapability.RPC
        answer = await client.group.GroupControllerGetCapabilities(
            csi.GroupControllerGetCapabilitiesRequest(), timeout=10
        )
        assert names_of(answer.capabilities, group) == {"CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT"}

    play(scenario)


def test_the_node_says_where_it_is() -> None:
    async def scenario(client: ServedClient) -> None:
        info = await client.node.NodeGetInfo(csi.NodeGetInfoRequest(), timeout=10)
        assert (info.node_id, info.max_volumes_per_node) == (NODE, 7)
        assert info.accessible_topology == TOPOLOGY

    play(scenario, max_volumes=7)


def test_a_volume_lives_and_is_used(tmp_path: Path) -> None:
    staging, target = tmp_path / "staging", tmp_path / "target"
    staging.mkdir()

    async def scenario(client: ServedClient) -> None:
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
