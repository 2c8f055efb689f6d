"""The CSI calls that the sidecars and kubelet would make, each printed with its result."""

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
from driver.cli.demo.observations import Observation, Observations
from driver.core.model import Bytes, FsType

ABORTED_TIMEOUT: Final = 120.0  # seconds; for a copy where bytes cannot be shared
RETRY_INTERVAL: Final = 0.5  # seconds before an ABORTED call is repeated

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class DemoFailed(Exception):
    """The demo cannot continue."""


@dataclass(frozen=True, slots=True)
class DemoVolume:
    """A volume, and its staging and target paths."""

    id: str
    staging: Path
    target: Path


class Calls:
    """Makes the CSI calls of the sidecars and kubelet, and prints each call with its result.

    Every method raises DemoFailed if a call fails.
    """

    def __init__(
        self, client: Client, narrator: Narrator, observations: Observations, fs: FsType
    ) -> None:
        self.client = client
        self._narrator = narrator
        self._observations = observations
        self._node = ""
        self._parameters = {"allocation": "sparse"}
        self._capability = csi.VolumeCapability(
            mount=csi.VolumeCapability.MountVolume(fs_type=fs),
            access_mode=csi.VolumeCapability.AccessMode(
                mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
            ),
        )

    def identify(self) -> None:
        """Ask the driver for its name, its node and its capacity."""
        self.call(self.client.identity.GetPluginInfo, csi.GetPluginInfoRequest())
        self._node = self.call(self.client.node.NodeGetInfo, csi.NodeGetInfoRequest()).node_id
        request = csi.GetCapacityRequest(parameters=self._parameters)
        self.call(self.client.controller.GetCapacity, request)

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
        request = csi.CreateVolumeRequest(
            name=name,
            capacity_range=csi.CapacityRange(required_bytes=size),
            volume_capabilities=[self._capability],
            parameters=self._parameters,
            volume_content_source=source,
        )
        answer = self.call(self.client.controller.CreateVolume, request, whole_ids=whole_id)
        return answer.volume.volume_id

    def delete(self, volume: DemoVolume) -> None:
        """Delete a volume."""
        request = csi.DeleteVolumeRequest(volume_id=volume.id)
        self.call(self.client.controller.DeleteVolume, request)

    def snapshot(self, volume: DemoVolume, name: str) -> str:
        """Create a snapshot and return its id."""
        request = csi.CreateSnapshotRequest(source_volume_id=volume.id, name=name)
        return self.call(self.client.controller.CreateSnapshot, request).snapshot.snapshot_id

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot."""
        request = csi.DeleteSnapshotRequest(snapshot_id=snapshot_id)
        self.call(self.client.controller.DeleteSnapshot, request)

    def attach(self, volume: DemoVolume) -> None:
        """Publish a volume to this node (ControllerPublishVolume)."""
        request = csi.ControllerPublishVolumeRequest(
            volume_id=volume.id, node_id=self._node, volume_capability=self._capability
        )
        self.call(self.client.controller.ControllerPublishVolume, request)

    def detach(self, volume: DemoVolume) -> None:
        """Unpublish a volume from this node (ControllerUnpublishVolume)."""
        request = csi.ControllerUnpublishVolumeRequest(volume_id=volume.id, node_id=self._node)
        self.call(self.client.controller.ControllerUnpublishVolume, request)

    def expand(self, volume: DemoVolume, size: Bytes) -> None:
        """Expand a volume to `size` bytes, and then its filesystem."""
        request = csi.CapacityRange(required_bytes=size)
        self.call(
            self.client.controller.ControllerExpandVolume,
            csi.ControllerExpandVolumeRequest(
                volume_id=volume.id, capacity_range=request, volume_capability=self._capability
            ),
        )
        self.call(
            self.client.node.NodeExpandVolume,
            csi.NodeExpandVolumeRequest(
                volume_id=volume.id,
                volume_path=str(volume.target),
                staging_target_path=str(volume.staging),
                capacity_range=request,
                volume_capability=self._capability,
            ),
        )

    # --- kubelet

    def stage(self, volume: DemoVolume) -> None:
        """Attach a volume and mount it at its staging path (NodeStageVolume), and print its device
        and mount.
        """
        volume.staging.mkdir(parents=True, exist_ok=True)
        request = csi.NodeStageVolumeRequest(
            volume_id=volume.id,
            staging_target_path=str(volume.staging),
            volume_capability=self._capability,
        )
        self.call(self.client.node.NodeStageVolume, request)
        self.show(self._observations.device(volume.id))
        self.show(self._observations.mounted(volume.staging))

    def unstage(self, volume: DemoVolume) -> None:
        """Unmount a volume from its staging path and detach it (NodeUnstageVolume)."""
        request = csi.NodeUnstageVolumeRequest(
            volume_id=volume.id, staging_target_path=str(volume.staging)
        )
        self.call(self.client.node.NodeUnstageVolume, request)

    def publish(self, volume: DemoVolume) -> None:
        """Mount a volume at its target path (NodePublishVolume), and print the mount."""
        volume.target.parent.mkdir(parents=True, exist_ok=True)
        request = csi.NodePublishVolumeRequest(
            volume_id=volume.id,
            staging_target_path=str(volume.staging),
            target_path=str(volume.target),
            volume_capability=self._capability,
        )
        self.call(self.client.node.NodePublishVolume, request)
        self.show(self._observations.mounted(volume.target))

    def unpublish(self, volume: DemoVolume) -> None:
        """Unmount a volume from its target path (NodeUnpublishVolume)."""
        request = csi.NodeUnpublishVolumeRequest(
            volume_id=volume.id, target_path=str(volume.target)
        )
        self.call(self.client.node.NodeUnpublishVolume, request)

    # --- any call

    def call(
        self, method: Method[Request, Response], request: Request, *, whole_ids: bool = False
    ) -> Response:
        """Call the driver and return its response.

        As a sidecar does, the call is repeated while its status is ABORTED, for ABORTED_TIMEOUT
        seconds at most. Raises: DemoFailed for any other error, or after that time.
        """
        self._narrator.request(request)
        end = time.monotonic() + ABORTED_TIMEOUT
        reported = False
        while True:
            start = time.perf_counter()
            try:
                answer = self.client.call(method, request)
            except CallFailed as error:
                if error.code is not grpc.StatusCode.ABORTED or time.monotonic() > end:
                    self._narrator.unexpected_error(_since(start), error)
                    raise DemoFailed(f"a call failed: {error}") from error
                if not reported:
                    self._narrator.expected_error(_since(start), error)
                    reported = True
                time.sleep(RETRY_INTERVAL)
            else:
                self._narrator.answer(_since(start), answer, whole_ids=whole_ids)
                return answer

    def call_refused(
        self, method: Method[Request, Response], request: Request, code: grpc.StatusCode
    ) -> None:
        """Make a call that the driver should refuse, and print whether its status is `code`.

        Raises: DemoFailed if the call succeeds.
        """
        self._narrator.request(request)
        start = time.perf_counter()
        try:
            answer = self.client.call(method, request)
        except CallFailed as error:
            self._narrator.expected_error(_since(start), error)
            self._narrator.check(f"refused with {code.name}", passed=error.code is code)
        else:
            self._narrator.answer(_since(start), answer)
            raise DemoFailed(f"the call succeeded; {code.name} was expected")

    def show(self, observations: Iterable[Observation]) -> None:
        """Print the observations of the volume, one line each."""
        for subject, detail in observations:
            self._narrator.observation(subject, detail)


def _since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)
