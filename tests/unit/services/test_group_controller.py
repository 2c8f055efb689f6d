"""The GroupController service, over a real socket; the pool is simulated."""

from __future__ import annotations

import grpc

from csi_proto import csi_pb2 as csi
from tests.unit.services.served import ServedClient, code_of, play


def test_a_group_lives_whole() -> None:
    async def scenario(client: ServedClient) -> None:
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
