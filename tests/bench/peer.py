"""One life of a volume on any CSI driver: only the calls that it declares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from csi_proto import csi_pb2 as pb
from csi_proto import csi_pb2_grpc as rpc

GIB = 1 << 30
SECONDS = 60.0

_Controller = pb.ControllerServiceCapability.RPC
_Node = pb.NodeServiceCapability.RPC


@dataclass(frozen=True)
class Abilities:
    attach: bool
    stage: bool
    node_id: str
    topology: pb.Topology


class Peer:
    """A driver behind a socket; ours is measured through the same eyes."""

    def __init__(self, endpoint: str, kubelet_dir: Path) -> None:
        self.channel = grpc.insecure_channel(endpoint)
        self.identity = rpc.IdentityStub(self.channel)
        self.controller = rpc.ControllerStub(self.channel)
        self.node = rpc.NodeStub(self.channel)
        self._kubelet_dir = kubelet_dir
        self._can = self._asked()

    @property
    def name(self) -> str:
        return self.identity.GetPluginInfo(pb.GetPluginInfoRequest(), timeout=SECONDS).name

    @property
    def calls(self) -> int:
        return 4 + 2 * self._can.attach + 2 * self._can.stage

    def _asked(self) -> Abilities:
        grpc.channel_ready_future(self.channel).result(timeout=SECONDS)
        node_info = self.node.NodeGetInfo(pb.NodeGetInfoRequest(), timeout=SECONDS)
        controller = self.controller.ControllerGetCapabilities(
            pb.ControllerGetCapabilitiesRequest(), timeout=SECONDS
        )
        node = self.node.NodeGetCapabilities(pb.NodeGetCapabilitiesRequest(), timeout=SECONDS)
        return Abilities(
            attach=_Controller.PUBLISH_UNPUBLISH_VOLUME
            in {each.rpc.type for each in controller.capabilities},
            stage=_Node.STAGE_UNSTAGE_VOLUME in {each.rpc.type for each in node.capabilities},
            node_id=node_info.node_id,
            topology=node_info.accessible_topology,
        )

    def empty_call(self) -> None:
        self.identity.Probe(pb.ProbeRequest(), timeout=SECONDS)

    def life(self, name: str) -> None:
        """CreateVolume to DeleteVolume: a pod comes and goes."""
        volume = self.create(name).volume
        staging, target = (
            self._kubelet_dir / f"{name}.staging",
            self._kubelet_dir / f"{name}.target",
        )
        given = self._attach(volume) if self._can.attach else {}
        if self._can.stage:
            staging.mkdir()
            self._stage(volume, given, staging)
        self._publish(volume, given, staging, target)
        self._down(volume.volume_id, staging, target)

    def create(self, name: str, size: int = GIB, **more: object) -> pb.CreateVolumeResponse:
        request = pb.CreateVolumeRequest(
            name=name,
            capacity_range=pb.CapacityRange(required_bytes=size),
            volume_capabilities=[mount_capability()],
            accessibility_requirements=self._topology_requirement(),
            **more,  # type: ignore[arg-type]
        )
        return self.controller.CreateVolume(request, timeout=SECONDS)

    def _topology_requirement(self) -> pb.TopologyRequirement | None:
        if not self._can.topology.segments:
            return None
        return pb.TopologyRequirement(
            requisite=[self._can.topology], preferred=[self._can.topology]
        )

    def _attach(self, volume: pb.Volume) -> dict[str, str]:
        request = pb.ControllerPublishVolumeRequest(
            volume_id=volume.volume_id,
            node_id=self._can.node_id,
            volume_capability=mount_capability(),
            volume_context=volume.volume_context,
        )
        answer = self.controller.ControllerPublishVolume(request, timeout=SECONDS)
        return dict(answer.publish_context)

    def _stage(self, volume: pb.Volume, given: dict[str, str], staging: Path) -> None:
        request = pb.NodeStageVolumeRequest(
            volume_id=volume.volume_id,
            publish_context=given,
            staging_target_path=str(staging),
            volume_capability=mount_capability(),
            volume_context=volume.volume_context,
        )
        self.node.NodeStageVolume(request, timeout=SECONDS)

    def _publish(
        self, volume: pb.Volume, given: dict[str, str], staging: Path, target: Path
    ) -> None:
        request = pb.NodePublishVolumeRequest(
            volume_id=volume.volume_id,
            publish_context=given,
            staging_target_path=str(staging) if self._can.stage else "",
            target_path=str(target),
            volume_capability=mount_capability(),
            volume_context=volume.volume_context,
        )
        self.node.NodePublishVolume(request, timeout=SECONDS)

    def _down(self, volume_id: str, staging: Path, target: Path) -> None:
        unpublish = pb.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target))
        self.node.NodeUnpublishVolume(unpublish, timeout=SECONDS)
        if self._can.stage:
            unstage = pb.NodeUnstageVolumeRequest(
                volume_id=volume_id, staging_target_path=str(staging)
            )
            self.node.NodeUnstageVolume(unstage, timeout=SECONDS)
            if staging.exists():
                staging.rmdir()
        if self._can.attach:
            detach = pb.ControllerUnpublishVolumeRequest(
                volume_id=volume_id, node_id=self._can.node_id
            )
            self.controller.ControllerUnpublishVolume(detach, timeout=SECONDS)
        self.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume_id), timeout=SECONDS)


def mount_capability() -> pb.VolumeCapability:
    return pb.VolumeCapability(
        mount=pb.VolumeCapability.MountVolume(fs_type="ext4"),
        access_mode=pb.VolumeCapability.AccessMode(
            mode=pb.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
        ),
    )
