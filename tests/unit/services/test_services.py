"""The services as a client sees them, over a real socket: what is declared is served."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.core.model import GIB
from tests.unit.services.served import KEY, MOUNT, NODE, Client, code_of, play

CONTROLLER = csi.ControllerServiceCapability.RPC
IN_USE = ("PUBLISH_UNPUBLISH_VOLUME", "PUBLISH_READONLY", "LIST_VOLUMES_PUBLISHED_NODES")
ROOM = 16 + 256  # workers, and places in the queue
OK = grpc.StatusCode.OK
TOPOLOGY = csi.Topology(segments={KEY: NODE})
ELSEWHERE = csi.Topology(segments={KEY: "node-b"})


def _names(capabilities: Any, kind: Any) -> set[str]:
    return {kind.Type.Name(capability.rpc.type) for capability in capabilities}


def test_the_plugin_says_who_it_is_and_what_it_has() -> None:
    async def scenario(client: Client) -> None:
        info = await client.identity.GetPluginInfo(csi.GetPluginInfoRequest(), timeout=10)
        assert (info.name, info.vendor_version) == ("cellar.csi.internal", "1.2.3")
        request = csi.GetPluginCapabilitiesRequest()
        answer = await client.identity.GetPluginCapabilities(request, timeout=10)
        service = csi.PluginCapability.Service.Type
        named = {service.Name(capability.service.type) for capability in answer.capabilities[:-1]}
        assert named == {
            "CONTROLLER_SERVICE",
            "VOLUME_ACCESSIBILITY_CONSTRAINTS",
            "GROUP_CONTROLLER_SERVICE",
            "SNAPSHOT_METADATA_SERVICE",
            "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS",
        }
        expansion = csi.PluginCapability.VolumeExpansion
        assert answer.capabilities[-1].volume_expansion.type == expansion.ONLINE

    play(scenario)


@pytest.mark.parametrize("attach", [True, False])
def test_the_controller_declares_all_but_limits_that_nothing_enforces(*, attach: bool) -> None:
    async def scenario(client: Client) -> None:
        request = csi.ControllerGetCapabilitiesRequest()
        answer = await client.controller.ControllerGetCapabilities(request, timeout=10)
        everything = set(CONTROLLER.Type.keys()) - {"UNKNOWN", "MODIFY_VOLUME"}
        assert _names(answer.capabilities, CONTROLLER) == everything - (
            set() if attach else set(IN_USE)
        )

    play(scenario, attach=attach)


def test_the_node_declares_all_but_mount_groups() -> None:
    async def scenario(client: Client) -> None:
        kind = csi.NodeServiceCapability.RPC
        request = csi.NodeGetCapabilitiesRequest()
        answer = await client.node.NodeGetCapabilities(request, timeout=10)
        everything = set(kind.Type.keys())
        assert _names(answer.capabilities, kind) == everything - {"UNKNOWN", "VOLUME_MOUNT_GROUP"}
        group = csi.GroupControllerServiceCapability.RPC
        answer = await client.group.GroupControllerGetCapabilities(
            csi.GroupControllerGetCapabilitiesRequest(), timeout=10
        )
        assert _names(answer.capabilities, group) == {"CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT"}

    play(scenario)


def test_the_node_says_where_it_is() -> None:
    async def scenario(client: Client) -> None:
        info = await client.node.NodeGetInfo(csi.NodeGetInfoRequest(), timeout=10)
        assert (info.node_id, info.max_volumes_per_node) == (NODE, 7)
        assert info.accessible_topology == TOPOLOGY

    play(scenario, max_volumes=7)


def test_without_attach_publishing_is_unimplemented_and_nothing_else_is() -> None:
    async def scenario(client: Client) -> None:
        volume = await client.create()
        publish = csi.ControllerPublishVolumeRequest(
            volume_id=volume.volume_id, node_id=NODE, volume_capability=MOUNT
        )
        undo = csi.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id)
        for call in (
            client.controller.ControllerPublishVolume(publish, timeout=10),
            client.controller.ControllerUnpublishVolume(undo, timeout=10),
        ):
            code, text = await code_of(call)
            assert code is grpc.StatusCode.UNIMPLEMENTED
            assert "--no-attach" in text

    play(scenario, attach=False)


def test_deleting_what_cannot_be_ours_is_done_already() -> None:
    async def scenario(client: Client) -> None:
        unknown = f"0123456789ab-{'0' * 32}"
        for volume_id in ("fake", "../../etc", "-o"):
            request = csi.DeleteVolumeRequest(volume_id=volume_id)
            assert await code_of(client.controller.DeleteVolume(request, timeout=10)) == (OK, "")
            undo = csi.DeleteSnapshotRequest(snapshot_id=volume_id)
            assert await code_of(client.controller.DeleteSnapshot(undo, timeout=10)) == (OK, "")
            group = csi.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=volume_id)
            call = client.group.DeleteVolumeGroupSnapshot(group, timeout=10)
            assert await code_of(call) == (OK, "")
        # It may lie in a pool that is away, so it is not known to be gone.
        request = csi.DeleteVolumeRequest(volume_id=unknown)
        code, _ = await code_of(client.controller.DeleteVolume(request, timeout=10))
        assert code is grpc.StatusCode.UNAVAILABLE

    play(scenario)


def test_a_full_pool_is_named_with_its_node_and_sizes_for_people() -> None:
    async def scenario(client: Client) -> None:
        large = csi.CapacityRange(required_bytes=100 * GIB + 4096)
        code, text = await code_of(client.create(capacity_range=large))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        where = f"node {NODE}, pool {client.pool.name}: 100 GiB are free"
        assert text.startswith(where)
        assert text.endswith(" are free, 100 GiB are needed")
        volume = await client.create("small")
        grow = csi.ControllerExpandVolumeRequest(
            volume_id=volume.volume_id, capacity_range=csi.CapacityRange(required_bytes=190 * GIB)
        )
        code, text = await code_of(client.controller.ControllerExpandVolume(grow, timeout=10))
        assert code is grpc.StatusCode.OUT_OF_RANGE
        assert text.startswith(f"node {NODE}, pool {client.pool.name}: ")
        assert text.endswith(" 190 GiB")

    play(scenario)


def test_a_volume_for_another_node_is_not_made_here() -> None:
    async def scenario(client: Client) -> None:
        only = csi.TopologyRequirement(requisite=[ELSEWHERE])
        code, text = await code_of(client.create(accessibility_requirements=only))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert NODE in text
        answer = await client.controller.ListVolumes(csi.ListVolumesRequest(), timeout=10)
        assert not answer.entries
        either = csi.TopologyRequirement(requisite=[ELSEWHERE, TOPOLOGY])
        volume = await client.create(accessibility_requirements=either)
        assert list(volume.accessible_topology) == [TOPOLOGY]

    play(scenario)


def test_capacity_elsewhere_is_nothing_and_here_is_the_largest_volume() -> None:
    async def scenario(client: Client) -> None:
        ask = client.controller.GetCapacity
        elsewhere = await ask(csi.GetCapacityRequest(accessible_topology=ELSEWHERE), timeout=10)
        assert elsewhere.available_capacity == elsewhere.maximum_volume_size.value == 0
        here = await ask(csi.GetCapacityRequest(accessible_topology=TOPOLOGY), timeout=10)
        assert here.available_capacity == here.maximum_volume_size.value == 100 * GIB
        assert here.minimum_volume_size.value == 16 << 20

    play(scenario)


def test_a_capability_that_no_volume_has_is_not_confirmed() -> None:
    async def scenario(client: Client) -> None:
        volume = await client.create()
        shared = csi.VolumeCapability()
        shared.CopyFrom(MOUNT)
        shared.access_mode.mode = csi.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER
        for volume_id, parameters, message in (
            (volume.volume_id, {}, "MULTI_NODE_MULTI_WRITER"),
            (volume.volume_id, {"colour": "red"}, "colour"),
        ):
            request = csi.ValidateVolumeCapabilitiesRequest(
                volume_id=volume_id,
                volume_capabilities=[MOUNT if parameters else shared],
                parameters=parameters,
            )
            answer = await client.controller.ValidateVolumeCapabilities(request, timeout=10)
            assert not answer.HasField("confirmed")
            assert message in answer.message
        request = csi.ValidateVolumeCapabilitiesRequest(
            volume_id="fake", volume_capabilities=[shared]
        )
        call = client.controller.ValidateVolumeCapabilities(request, timeout=10)
        assert (await code_of(call))[0] is grpc.StatusCode.NOT_FOUND

    play(scenario)


def test_bytes_that_are_no_request_are_the_callers_mistake() -> None:
    async def scenario(client: Client) -> None:
        call: Any = client.channel.unary_unary("/csi.v1.Controller/DeleteVolume")
        for data in (b"\x0a\x02\xff\xfe", b"\x0a\xff"):  # not UTF-8, cut short
            code, text = await code_of(call(data, timeout=10))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "cannot be read" in text

    play(scenario)


def test_status_details_stay_empty() -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.create(parameters={"colour": "red"})
        assert not [key for key, _ in caught.value.trailing_metadata() or () if "-bin" in key]

    play(scenario)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"writeIops": "3"}, "FAILED_PRECONDITION"),
        ({"readBps": "4Mi", "writeIops": "0"}, "FAILED_PRECONDITION"),
        ({"writeIops": "-3"}, "INVALID_ARGUMENT"),
        ({"colour": "red"}, "INVALID_ARGUMENT"),
        ({"writeIops": "0", "readBps": "0"}, "OK"),
    ],
)
def test_what_cannot_be_enforced_is_not_said_to_be(change: dict[str, str], code: str) -> None:
    async def scenario(client: Client) -> None:
        volume = await client.create(parameters={"readIops": "0"})
        request = csi.ControllerModifyVolumeRequest(
            volume_id=volume.volume_id, mutable_parameters=change
        )
        codes = "OK"
        try:
            await client.controller.ControllerModifyVolume(request, timeout=10)
        except grpc.aio.AioRpcError as error:
            codes = error.code().name
        assert codes == code
        asked = csi.ControllerGetCapabilitiesRequest()
        response = await client.controller.ControllerGetCapabilities(asked, timeout=10)
        kinds = {capability.rpc.type for capability in response.capabilities}
        assert csi.ControllerServiceCapability.RPC.MODIFY_VOLUME not in kinds

    play(scenario)


def test_lists_come_in_pages() -> None:
    async def scenario(client: Client) -> None:
        made = {(await client.create(f"v{number}")).volume_id for number in range(5)}
        codes: list[str] = []
        token, pages = "", 0
        while token or not pages:
            request = csi.ListVolumesRequest(max_entries=2, starting_token=token)
            answer = await client.controller.ListVolumes(request, timeout=10)
            codes += [entry.volume.volume_id for entry in answer.entries]
            token, pages = answer.next_token, pages + 1
        assert sorted(made) == codes
        assert pages == 3

    play(scenario)


def test_probe_and_capabilities_answer_while_all_workers_are_busy() -> None:
    async def scenario(client: Client) -> None:
        let = threading.Event()
        find = client.pool.backend.find

        def stuck(image_id: Any) -> Any:
            assert let.wait(30)
            return find(image_id)

        client.pool.backend.find = stuck  # type: ignore[method-assign]
        small = csi.CapacityRange(required_bytes=GIB >> 6)
        calls = [
            asyncio.ensure_future(code_of(client.create(f"v{number}", capacity_range=small)))
            for number in range(ROOM + 8)
        ]
        refused, taken = set[asyncio.Task[Any]](), set(calls)
        async with asyncio.timeout(20):
            while len(taken) > ROOM:
                done, taken = await asyncio.wait(taken, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
        assert {(await call)[0] for call in refused} == {grpc.StatusCode.UNAVAILABLE}
        name = f"v{next(number for number, call in enumerate(calls) if call in taken)}"
        assert (await code_of(client.create(name)))[0] is grpc.StatusCode.ABORTED
        for call in (
            client.identity.Probe(csi.ProbeRequest(), timeout=5),
            client.identity.GetPluginInfo(csi.GetPluginInfoRequest(), timeout=5),
            client.controller.ControllerGetCapabilities(
                csi.ControllerGetCapabilitiesRequest(), timeout=5
            ),
            client.node.NodeGetInfo(csi.NodeGetInfoRequest(), timeout=5),
            client.node.NodeGetCapabilities(csi.NodeGetCapabilitiesRequest(), timeout=5),
        ):
            assert await code_of(call) == (OK, "")
        let.set()
        assert {await call for call in taken} == {(OK, "")}

    play(scenario)
