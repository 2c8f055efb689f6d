"""A router that is one version older than its nodes: what it does not know goes through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf.message import Message

from csi_proto import csi_pb2 as csi
from driver.tls import authority
from tests.cluster.machines import MOUNT, RouterProcess, code_of, on, ready
from tests.cluster.newer import LATER, STREAM, VOLUME, Newer, newer
from tests.support.waiting import wait_until

Code = grpc.StatusCode


@pytest.fixture
def node(where: Path) -> Iterator[tuple[Newer, int]]:
    authority.create(where / "tls")
    with newer("a", where / "tls/node") as node:
        yield node


@pytest.fixture
def router(where: Path, node: tuple[Newer, int]) -> Iterator[RouterProcess]:
    nodes = [{"name": "a", "address": f"127.0.0.1:{node[1]}"}]
    (where / "nodes.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
    with RouterProcess(where, where / "nodes.yaml", where / "tls/router") as router:
        wait_until(lambda: ready(router))
        yield router


def call(router: RouterProcess, method: str, request: bytes) -> bytes:
    assert router.channel
    ask: Any = router.channel.unary_unary(f"/csi.v1.Controller/{method}")
    return bytes(ask(request, timeout=10))


REQUESTS: dict[str, Message] = {
    "ControllerGetVolume": csi.ControllerGetVolumeRequest(volume_id=VOLUME),
    "ControllerExpandVolume": csi.ControllerExpandVolumeRequest(
        volume_id=VOLUME, capacity_range=csi.CapacityRange(required_bytes=1)
    ),
    "DeleteVolume": csi.DeleteVolumeRequest(volume_id=VOLUME),
    "CreateVolume": csi.CreateVolumeRequest(
        name="v", volume_capabilities=[MOUNT], accessibility_requirements=on("a")
    ),
    "ListVolumes": csi.ListVolumesRequest(),
}


@pytest.mark.parametrize("method", list(REQUESTS))
def test_fields_that_the_router_does_not_know_go_through_it(
    router: RouterProcess, node: tuple[Newer, int], method: str
) -> None:
    answer = call(router, method, REQUESTS[method].SerializeToString() + LATER)
    assert LATER in node[0].asked[method]
    assert LATER in answer


def test_calls_that_the_router_does_not_know_are_not_implemented(router: RouterProcess) -> None:
    assert code_of(lambda: call(router, "ControllerDoLater", b"")) is Code.UNIMPLEMENTED


def test_fields_of_streams_that_the_router_does_not_know_go_through_it(
    router: RouterProcess, node: tuple[Newer, int]
) -> None:
    request = csi.GetMetadataAllocatedRequest(snapshot_id=VOLUME).SerializeToString() + LATER
    assert router.channel
    ask: Any = router.channel.unary_stream("/csi.v1.SnapshotMetadata/GetMetadataAllocated")
    answers = list(ask(request, timeout=10))
    assert node[0].asked["GetMetadataAllocated"] == request
    assert answers == STREAM


def test_a_stream_that_its_client_cancels_ends_on_the_node_too(
    router: RouterProcess, node: tuple[Newer, int]
) -> None:
    request = csi.GetMetadataAllocatedRequest(snapshot_id=VOLUME, starting_offset=1)
    stream = router.metadata.GetMetadataAllocated(request)
    assert next(stream).volume_capacity_bytes == 1
    assert not node[0].call_ended.wait(0.1)
    stream.cancel()
    assert node[0].call_ended.wait(10)


def test_a_stream_of_a_node_that_dies_ends_as_one_that_can_be_gone_on_with(
    router: RouterProcess, node: tuple[Newer, int]
) -> None:
    request = csi.GetMetadataAllocatedRequest(snapshot_id=VOLUME, starting_offset=1)
    stream = router.metadata.GetMetadataAllocated(request)
    assert [next(stream).volume_capacity_bytes for _ in STREAM] == [1, 2]
    node[0].stop()
    assert code_of(lambda: next(stream)) is Code.UNAVAILABLE


def test_a_node_that_has_no_such_stream_says_so(router: RouterProcess) -> None:
    """As one that is a version older."""
    request = csi.GetMetadataDeltaRequest(base_snapshot_id=VOLUME, target_snapshot_id=VOLUME)
    assert router.channel
    ask: Any = router.channel.unary_stream("/csi.v1.SnapshotMetadata/GetMetadataDelta")
    code = code_of(lambda: list(ask(request.SerializeToString(), timeout=10)))
    assert code is Code.UNIMPLEMENTED
