"""A CSI client of our own: one short method per call, each with a deadline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import grpc

from csi_proto import csi_pb2 as pb
from csi_proto import csi_pb2_grpc as rpc
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

MIB = 1 << 20
SECONDS = 30.0

Mode = pb.VolumeCapability.AccessMode
Value = TypeVar("Value")


def capability(
    fs: str = "ext4",
    *,
    block: bool = False,
    mode: str = "SINGLE_NODE_WRITER",
    flags: Sequence[str] = (),
) -> pb.VolumeCapability:
    access = Mode(mode=Mode.Mode.Value(mode))
    if block:
        return pb.VolumeCapability(block=pb.VolumeCapability.BlockVolume(), access_mode=access)
    mount = pb.VolumeCapability.MountVolume(fs_type=fs, mount_flags=flags)
    return pb.VolumeCapability(mount=mount, access_mode=access)


def of_snapshot(snapshot_id: str) -> pb.VolumeContentSource:
    source = pb.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
    return pb.VolumeContentSource(snapshot=source)


def of_volume(volume_id: str) -> pb.VolumeContentSource:
    source = pb.VolumeContentSource.VolumeSource(volume_id=volume_id)
    return pb.VolumeContentSource(volume=source)


class Refusal:
    """How a call failed; filled in when the block ends."""

    code = ""
    text = ""


@contextmanager
def refused(*codes: str) -> Iterator[Refusal]:
    """The block must end with one of these gRPC codes; none given: with any."""
    refusal = Refusal()
    try:
        yield refusal
    except grpc.RpcError as error:
        refusal.code, refusal.text = code_of(error), str(error.details())
        assert not codes or refusal.code in codes, f"{refusal.code}: {refusal.text}"
    else:
        raise AssertionError(f"answered OK, expected {' or '.join(codes) or 'a refusal'}")


def outcome(call: Callable[[], object]) -> str:
    """The name of its status, where more than one is right."""
    try:
        call()
    except grpc.RpcError as error:
        return code_of(error)
    return "OK"


def code_of(error: grpc.RpcError) -> str:
    return str(error.code().name)


@dataclass(frozen=True)
class Ranges:
    """A whole stream of SnapshotMetadata."""

    size: int
    found: tuple[tuple[int, int], ...]  # start and end
    longest: int  # message

    @classmethod
    def of(cls, stream: Iterable[Any]) -> Ranges:
        """As the specification has it: one kind, one size, in order, nothing twice."""
        messages = list(stream)
        [size] = {block.volume_capacity_bytes for block in messages}
        assert {block.block_metadata_type for block in messages} == {pb.VARIABLE_LENGTH}
        blocks = [block for message in messages for block in message.block_metadata]
        assert all(block.size_bytes > 0 and block.byte_offset >= 0 for block in blocks)
        ranges = tuple(
            (block.byte_offset, block.byte_offset + block.size_bytes) for block in blocks
        )
        assert all(block[1] <= following[0] for block, following in pairwise(ranges))
        assert not ranges or ranges[-1][1] <= size
        return cls(size, ranges, max(len(message.block_metadata) for message in messages))

    def bytes(self) -> set[int]:
        """By blocks of 512."""
        return {at for start, end in self.found for at in range(start // 512, -(-end // 512))}


class Csi:
    """Calls to one driver, also after it was started again."""

    def __init__(self, driver: DriverProcess) -> None:
        self.driver = driver

    @property
    def identity(self) -> rpc.IdentityStub:
        return self.driver.identity

    @property
    def controller(self) -> rpc.ControllerStub:
        return self.driver.controller

    @property
    def group(self) -> rpc.GroupControllerStub:
        return self.driver.group

    @property
    def node(self) -> rpc.NodeStub:
        return self.driver.node

    # identity

    def probe(self, timeout: float = SECONDS) -> bool:
        return self.identity.Probe(pb.ProbeRequest(), timeout=timeout).ready.value

    # controller

    def create_request(
        self,
        name: str,
        size: int = 16 * MIB,
        *,
        limit: int = 0,
        source: pb.VolumeContentSource | None = None,
        parameters: dict[str, str] | None = None,
        **how: Any,
    ) -> pb.CreateVolumeRequest:
        return pb.CreateVolumeRequest(
            name=name,
            capacity_range=pb.CapacityRange(required_bytes=size, limit_bytes=limit),
            volume_capabilities=[capability(**how)],
            volume_content_source=source,
            parameters=parameters or {},
        )

    def create(
        self, name: str, size: int = 16 * MIB, *, timeout: float = SECONDS, **how: Any
    ) -> pb.Volume:
        request = self.create_request(name, size, **how)
        return self.controller.CreateVolume(request, timeout=timeout).volume

    def create_patiently(self, name: str, size: int = 16 * MIB, **how: Any) -> pb.Volume:
        """As the provisioner does: ABORTED means that it is being worked on."""
        return patiently(lambda: self.create(name, size, **how))

    def delete(self, volume_id: str) -> None:
        self.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume_id), timeout=SECONDS)

    def attach(self, volume_id: str, node: str = "n1", **how: Any) -> dict[str, str]:
        request = pb.ControllerPublishVolumeRequest(
            volume_id=volume_id, node_id=node, volume_capability=capability(**how)
        )
        answer = self.controller.ControllerPublishVolume(request, timeout=SECONDS)
        return dict(answer.publish_context)

    def detach(self, volume_id: str, node: str = "n1") -> None:
        request = pb.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node)
        self.controller.ControllerUnpublishVolume(request, timeout=SECONDS)

    def expand(self, volume_id: str, size: int, **how: Any) -> pb.ControllerExpandVolumeResponse:
        request = pb.ControllerExpandVolumeRequest(
            volume_id=volume_id,
            capacity_range=pb.CapacityRange(required_bytes=size),
            volume_capability=capability(**how),
        )
        return self.controller.ControllerExpandVolume(request, timeout=SECONDS)

    def capacity(
        self, *, parameters: dict[str, str] | None = None, **how: Any
    ) -> pb.GetCapacityResponse:
        request = pb.GetCapacityRequest(
            volume_capabilities=[capability(**how)], parameters=parameters or {}
        )
        return self.controller.GetCapacity(request, timeout=SECONDS)

    def volumes(self) -> dict[str, pb.Volume]:
        answer = self.controller.ListVolumes(pb.ListVolumesRequest(), timeout=SECONDS)
        assert not answer.next_token
        return {entry.volume.volume_id: entry.volume for entry in answer.entries}

    # snapshots

    def snapshot(self, name: str, source: str) -> pb.Snapshot:
        """Patient: until it is ready to use."""
        request = pb.CreateSnapshotRequest(name=name, source_volume_id=source)

        def ready() -> pb.Snapshot | None:
            snapshot = patiently(
                lambda: self.controller.CreateSnapshot(request, timeout=SECONDS).snapshot
            )
            return snapshot if snapshot.ready_to_use else None

        return wait_until(ready)

    def delete_snapshot(self, snapshot_id: str) -> None:
        request = pb.DeleteSnapshotRequest(snapshot_id=snapshot_id)
        self.controller.DeleteSnapshot(request, timeout=SECONDS)

    def snapshots(self) -> dict[str, pb.Snapshot]:
        answer = self.controller.ListSnapshots(pb.ListSnapshotsRequest(), timeout=SECONDS)
        return {entry.snapshot.snapshot_id: entry.snapshot for entry in answer.entries}

    def snapshot_group(self, name: str, sources: Sequence[str]) -> pb.VolumeGroupSnapshot:
        request = pb.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=sources)
        return self.group.CreateVolumeGroupSnapshot(request, timeout=SECONDS).group_snapshot

    # changed blocks

    def allocated(self, snapshot_id: str, **more: int) -> Ranges:
        request = pb.GetMetadataAllocatedRequest(snapshot_id=snapshot_id, **more)  # type: ignore[arg-type]
        return Ranges.of(self.driver.metadata.GetMetadataAllocated(request, timeout=SECONDS))

    def delta(self, base: str, target: str, **more: int) -> Ranges:
        request = pb.GetMetadataDeltaRequest(
            base_snapshot_id=base,
            target_snapshot_id=target,
            **more,  # type: ignore[arg-type]
        )
        return Ranges.of(self.driver.metadata.GetMetadataDelta(request, timeout=SECONDS))

    # node

    def stage(
        self, volume_id: str, staging: Path, *, secrets: dict[str, str] | None = None, **how: Any
    ) -> None:
        request = pb.NodeStageVolumeRequest(
            volume_id=volume_id,
            staging_target_path=str(staging),
            volume_capability=capability(**how),
            secrets=secrets or {},
        )
        self.node.NodeStageVolume(request, timeout=SECONDS)

    def unstage(self, volume_id: str, staging: Path) -> None:
        request = pb.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(staging))
        self.node.NodeUnstageVolume(request, timeout=SECONDS)

    def publish(
        self, volume_id: str, staging: Path, target: Path, *, read_only: bool = False, **how: Any
    ) -> None:
        request = pb.NodePublishVolumeRequest(
            volume_id=volume_id,
            staging_target_path=str(staging),
            target_path=str(target),
            volume_capability=capability(**how),
            readonly=read_only,
        )
        self.node.NodePublishVolume(request, timeout=SECONDS)

    def unpublish(self, volume_id: str, target: Path) -> None:
        request = pb.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target))
        self.node.NodeUnpublishVolume(request, timeout=SECONDS)

    def grow(
        self, volume_id: str, path: Path, size: int, **how: Any
    ) -> pb.NodeExpandVolumeResponse:
        request = pb.NodeExpandVolumeRequest(
            volume_id=volume_id,
            volume_path=str(path),
            staging_target_path=str(path),
            capacity_range=pb.CapacityRange(required_bytes=size),
            volume_capability=capability(**how),
        )
        return self.node.NodeExpandVolume(request, timeout=SECONDS)

    def stats(self, volume_id: str, path: Path) -> pb.NodeGetVolumeStatsResponse:
        request = pb.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=str(path))
        return self.node.NodeGetVolumeStats(request, timeout=SECONDS)


def patiently(call: Callable[[], Value]) -> Value:
    """Repeat a call that answers ABORTED, as every sidecar does."""

    def answered() -> tuple[Value] | None:
        try:
            return (call(),)
        except grpc.RpcError as error:
            if code_of(error) != "ABORTED":
                raise
            return None

    [answer] = wait_until(answered)
    return answer


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
