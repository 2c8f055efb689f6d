"""Requests about snapshots and groups: what is parsed, and what is refused."""

from __future__ import annotations

import pytest

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.errors import Invalid, NotFound
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import ObjectNames
from driver.csi import parse_snapshots
from driver.volumes import snapshot_requests

V = VolumeId("0123456789ab", "0" * 32)
W = VolumeId("0123456789ab", "1" * 32)
S = SnapshotId("0123456789ab", "2" * 32)
GROUP = "3" * 32


def test_filters_of_snapshots() -> None:
    request = csi.ListSnapshotsRequest(source_volume_id=str(V), snapshot_id=str(S))
    assert parse_snapshots.list_snapshots(request) == snapshot_requests.ListSnapshots(
        snapshot_id=S, source=V
    )
    with pytest.raises(NotFound):
        parse_snapshots.list_snapshots(csi.ListSnapshotsRequest(snapshot_id="none"))


# snapshots and groups


def test_a_snapshot_and_a_volume_of_one_name_have_different_keys() -> None:
    request = csi.CreateSnapshotRequest(name="data", source_volume_id=str(V))
    assert parse_snapshots.create(request) == snapshot_requests.CreateSnapshot(
        snapshot_requests.Member(ids.snapshot_key("data"), "data", V)
    )
    assert ids.snapshot_key("data") != ids.volume_key("data")
    request.parameters["x"] = "y"
    with pytest.raises(Invalid, match="unknown 'x'"):
        parse_snapshots.create(request)


def test_the_members_of_a_group_are_in_order_whatever_order_they_are_named_in() -> None:
    def group(*volumes: object) -> snapshot_requests.CreateGroupSnapshot:
        return parse_snapshots.create_group(
            csi.CreateVolumeGroupSnapshotRequest(
                name="g", source_volume_ids=[str(volume) for volume in volumes]
            )
        )

    assert group(W, V) == group(V, W)
    assert [member.source for member in group(W, V).members] == [V, W]
    assert len({member.key for member in group(W, V).members}) == 2
    with pytest.raises(Invalid, match="named twice"):
        group(V, V)
    with pytest.raises(NotFound):
        group(V, "../x")


def test_all_members_have_the_names_of_their_group() -> None:
    names = {"/name": "both", "/namespace": "shop"}
    given = {f"csi.storage.k8s.io/volumegroupsnapshot{key}": name for key, name in names.items()}
    given["csi.storage.k8s.io/volumegroupsnapshotcontent/name"] = "groupsnapcontent-1"
    request = csi.CreateVolumeGroupSnapshotRequest(
        name="g", source_volume_ids=[str(V), str(W)], parameters=given
    )
    objects = {member.objects for member in parse_snapshots.create_group(request).members}
    assert objects == {ObjectNames("shop", "both", "groupsnapcontent-1")}


def test_a_group_is_named_by_its_key_alone() -> None:
    request = csi.GetVolumeGroupSnapshotRequest(group_snapshot_id=GROUP, snapshot_ids=[str(S)])
    assert parse_snapshots.group_ref(request) == snapshot_requests.GroupSnapshotRef(GROUP, (S,))
    request.snapshot_ids.append("none of ours")
    with pytest.raises(Invalid, match="snapshot_ids"):
        parse_snapshots.group_ref(request)
    with pytest.raises(NotFound):
        parse_snapshots.group_ref(
            csi.GetVolumeGroupSnapshotRequest(group_snapshot_id="fake-vol-id")
        )


# the node


def test_a_snapshot_knows_its_names_in_kubernetes() -> None:
    prefix = "csi.storage.k8s.io/volumesnapshot"
    request = csi.CreateSnapshotRequest(
        name="snapshot-1",
        source_volume_id=f"{'a' * 12}-{'b' * 32}",
        parameters={
            f"{prefix}/name": "nightly",
            f"{prefix}/namespace": "shop",
            f"{prefix}content/name": "snapcontent-1",
        },
    )
    member = parse_snapshots.create(request).member
    assert member.objects == ObjectNames("shop", "nightly", "snapcontent-1")
    request.parameters[f"{prefix}content/name"] = "snapshot-1"
    assert parse_snapshots.create(request).member.objects == ObjectNames("shop", "nightly")
