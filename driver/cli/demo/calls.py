"""The demo's part of Kubernetes: the calls of provisioner, attacher and kubelet, each one told."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from csi_proto import csi_pb2 as csi
from driver.cli.client import CallFailed, Client, Method
from driver.cli.demo.narrator import Narrator
from driver.cli.demo.observations import Observations, Sight
from driver.core.model import Bytes, FsType

PATIENCE: Final = 120.0  # seconds that a copy may take where bytes cannot be shared
PAUSE: Final = 0.5  # seconds before an ABORTED call is made again

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Broken(Exception):
    """The demo cannot go on."""


@dataclass(frozen=True, slots=True)
class Used:
    """A volume, and the paths at which kubelet wants it."""

    id: str
    staging: Path
    target: Path


class Calls:
    """The calls of the sidecars and kubelet, each printed with its result.

    Every method raises Broken if a call fails.
    """

    def __init__(self, client: Client, tell: Narrator, sights: Observations, fs: FsType) -> None:
        self.client = client
        self._tell = tell
        self._sights = sights
        self._node = ""
        self._parameters = {"allocation": "sparse"}
        self._how = csi.VolumeCapability(
            mount=csi.VolumeCapability.MountVolume(fs_type=fs),
            access_mode=csi.VolumeCapability.AccessMode(
                mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
            ),
        )

    def greet(self) -> None:
        """Ask the driver for its name, its node and its capacity."""
        self.ask(self.client.identity.GetPluginInfo, csi.GetPluginInfoRequest())
        self._node = self.ask(self.client.node.NodeGetInfo, csi.NodeGetInfoRequest()).node_id
        wanted = csi.GetCapacityRequest(parameters=self._parameters)
        self.ask(self.client.controller.GetCapacity, wanted)

    # --- csi-provisioner, csi-snapshotter, csi-resizer, csi-attacher

    def create(
        self,
        name: str,
        size: Bytes,
        source: csi.VolumeContentSource | None = None,
        *,
        whole_id: bool = False,
    ) -> str:
        """Create a volume and return its id. `whole_id`: print the id in full."""
        wanted = csi.CreateVolumeRequest(
            name=name,
            capacity_range=csi.CapacityRange(required_bytes=size),
            volume_capabilities=[self._how],
            parameters=self._parameters,
            volume_content_source=source,
        )
        answer = self.ask(self.client.controller.CreateVolume, wanted, whole_ids=whole_id)
        return answer.volume.volume_id

    def delete(self, volume: Used) -> None:
        wanted = csi.DeleteVolumeRequest(volume_id=volume.id)
        self.ask(self.client.controller.DeleteVolume, wanted)

    def snapshot(self, volume: Used, name: str) -> str:
        """Create a snapshot and return its id."""
        wanted = csi.CreateSnapshotRequest(source_volume_id=volume.id, name=name)
        return self.ask(self.client.controller.CreateSnapshot, wanted).snapshot.snapshot_id

    def delete_snapshot(self, snapshot_id: str) -> None:
        wanted = csi.DeleteSnapshotRequest(snapshot_id=snapshot_id)
        self.ask(self.client.controller.DeleteSnapshot, wanted)

    def attach(self, volume: Used) -> None:
        wanted = csi.ControllerPublishVolumeRequest(
            volume_id=volume.id, node_id=self._node, volume_capability=self._how
        )
        self.ask(self.client.controller.ControllerPublishVolume, wanted)

    def detach(self, volume: Used) -> None:
        wanted = csi.ControllerUnpublishVolumeRequest(volume_id=volume.id, node_id=self._node)
        self.ask(self.client.controller.ControllerUnpublishVolume, wanted)

    def expand(self, volume: Used, size: Bytes) -> None:
        """Expand a volume to `size` bytes, and then its filesystem."""
        wanted = csi.CapacityRange(required_bytes=size)
        self.ask(
            self.client.controller.ControllerExpandVolume,
            csi.ControllerExpandVolumeRequest(
                volume_id=volume.id, capacity_range=wanted, volume_capability=self._how
            ),
        )
        self.ask(
            self.client.node.NodeExpandVolume,
            csi.NodeExpandVolumeRequest(
                volume_id=volume.id,
                volume_path=str(volume.target),
                staging_target_path=str(volume.staging),
                capacity_range=wanted,
                volume_capability=self._how,
            ),
        )

    # --- kubelet

    def stage(self, volume: Used) -> None:
        """Stage a volume, and print its device and mount."""
        volume.staging.mkdir(parents=True, exist_ok=True)
        wanted = csi.NodeStageVolumeRequest(
            volume_id=volume.id,
            staging_target_path=str(volume.staging),
            volume_capability=self._how,
        )
        self.ask(self.client.node.NodeStageVolume, wanted)
        self.see(self._sights.device(volume.id))
        self.see(self._sights.mounted(volume.staging))

    def unstage(self, volume: Used) -> None:
        wanted = csi.NodeUnstageVolumeRequest(
            volume_id=volume.id, staging_target_path=str(volume.staging)
        )
        self.ask(self.client.node.NodeUnstageVolume, wanted)

    def publish(self, volume: Used) -> None:
        """Publish a volume, and print its mount."""
        volume.target.parent.mkdir(parents=True, exist_ok=True)
        wanted = csi.NodePublishVolumeRequest(
            volume_id=volume.id,
            staging_target_path=str(volume.staging),
            target_path=str(volume.target),
            volume_capability=self._how,
        )
        self.ask(self.client.node.NodePublishVolume, wanted)
        self.see(self._sights.mounted(volume.target))

    def unpublish(self, volume: Used) -> None:
        wanted = csi.NodeUnpublishVolumeRequest(volume_id=volume.id, target_path=str(volume.target))
        self.ask(self.client.node.NodeUnpublishVolume, wanted)

    # --- any call

    def ask(
        self, method: Method[Request, Response], request: Request, *, whole_ids: bool = False
    ) -> Response:
        """Call the driver and return its response.

        As a sidecar does, repeat the call while it is ABORTED, for PATIENCE seconds at most.

        Raises: Broken for any other error, or after that time.
        """
        self._tell.request(request)
        end = time.monotonic() + PATIENCE
        told = False
        while True:
            start = time.perf_counter()
            try:
                answer = self.client.call(method, request)
            except CallFailed as error:
                if error.code is not grpc.StatusCode.ABORTED or time.monotonic() > end:
                    self._tell.failure(_since(start), error)
                    raise Broken(f"an answer that should not be: {error}") from error
                if not told:
                    self._tell.expected(_since(start), error)
                    told = True
                time.sleep(PAUSE)
            else:
                self._tell.answer(_since(start), answer, whole_ids=whole_ids)
                return answer

    def ask_in_vain(
        self, method: Method[Request, Response], request: Request, code: grpc.StatusCode
    ) -> None:
        """Make a call that the driver should refuse with `code`. Raises: Broken if it succeeds."""
        self._tell.request(request)
        start = time.perf_counter()
        try:
            answer = self.client.call(method, request)
        except CallFailed as error:
            self._tell.expected(_since(start), error)
            self._tell.proved(f"refused with {code.name}", holds=error.code is code)
        else:
            self._tell.answer(_since(start), answer)
            raise Broken(f"this should have been refused with {code.name}")

    def see(self, sights: Iterable[Sight]) -> None:
        """Print what can be seen."""
        for what, detail in sights:
            self._tell.seen(what, detail)


def _since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)
