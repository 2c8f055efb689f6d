"""Promise 12: secrets never appear in logs, errors, argv or metrics."""

from __future__ import annotations

from pathlib import Path

import grpc

from csi_proto import csi_pb2 as pb
from tests.support.client import capability
from tests.support.node import Node

SECRET = "hunter2-of-the-tests"
HIDDEN = {"passphrase": SECRET}


def _requests(volume: str, staging: Path) -> dict[str, object]:
    wanted = capability(flags=[f"password={SECRET}"])
    return {
        "CreateVolume": pb.CreateVolumeRequest(
            name="s", volume_capabilities=[capability()], secrets=HIDDEN
        ),
        "DeleteVolume": pb.DeleteVolumeRequest(volume_id=volume, secrets=HIDDEN),
        "ControllerPublishVolume": pb.ControllerPublishVolumeRequest(
            volume_id=volume, node_id="n1", volume_capability=capability(), secrets=HIDDEN
        ),
        "ControllerUnpublishVolume": pb.ControllerUnpublishVolumeRequest(
            volume_id=volume, node_id="n1", secrets=HIDDEN
        ),
        "ControllerExpandVolume": pb.ControllerExpandVolumeRequest(
            volume_id=volume, capacity_range=pb.CapacityRange(required_bytes=-1), secrets=HIDDEN
        ),
        "ControllerModifyVolume": pb.ControllerModifyVolumeRequest(
            volume_id=volume, mutable_parameters={"bad": "x"}, secrets=HIDDEN
        ),
        "ValidateVolumeCapabilities": pb.ValidateVolumeCapabilitiesRequest(
            volume_id=volume, volume_capabilities=[capability()], secrets=HIDDEN
        ),
        "CreateSnapshot": pb.CreateSnapshotRequest(
            name="s", source_volume_id=volume, parameters={"bad": "x"}, secrets=HIDDEN
        ),
        "DeleteSnapshot": pb.DeleteSnapshotRequest(snapshot_id="none", secrets=HIDDEN),
        "ListSnapshots": pb.ListSnapshotsRequest(secrets=HIDDEN),
        "NodeStageVolume": pb.NodeStageVolumeRequest(
            volume_id=volume,
            staging_target_path=str(staging),
            volume_capability=wanted,
            secrets=HIDDEN,
        ),
        "NodePublishVolume": pb.NodePublishVolumeRequest(
            volume_id=volume,
            staging_target_path=str(staging),
            target_path=str(staging / "no" / "where"),
            volume_capability=capability(),
            secrets=HIDDEN,
        ),
        "NodeExpandVolume": pb.NodeExpandVolumeRequest(
            volume_id=volume, volume_path=str(staging), secrets=HIDDEN
        ),
    }


def test_a_secret_in_any_request_is_in_no_log_error_or_argv(node: Node) -> None:
    disk = node.disk("xfs")
    csi = node.start(f"p=loopfile:{disk.where}", options=["--log-level", "debug"])
    life = node.life(csi, csi.create("v").volume_id)
    said = []
    for name, request in _requests(life.volume_id, life.staging).items():
        stub = csi.node if name.startswith("Node") else csi.controller
        try:
            said.append(str(getattr(stub, name)(request, timeout=10)))
        except grpc.RpcError as error:
            said.append(f"{name}: {error.details()}")
    assert SECRET not in "\n".join(said)
    log = csi.driver.log.read_text(errors="replace")
    assert "NodeStageVolume" in log
    assert SECRET not in log
    assert life.volume_id in log
