"""The Controller service, over a real socket; the pool is simulated."""

from __future__ import annotations

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from driver.backends.memory.host import MemoryHost
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.model import GIB
from tests.support.failing_backend import FailingBackend
from tests.unit.services.served import KEY, MOUNT, NODE, ServedClient, code_of, names_of, play

CONTROLLER = csi.ControllerServiceCapability.RPC
IN_USE = ("PUBLISH_UNPUBLISH_VOLUME", "PUBLISH_READONLY", "LIST_VOLUMES_PUBLISHED_NODES")
OK = grpc.StatusCode.OK
TOPOLOGY = csi.Topology(segments={KEY: NODE})
ELSEWHERE = csi.Topology(segments={KEY: "node-b"})


@pytest.mark.parametrize("attach", [True, False])
@pytest.mark.parametrize("lacking", ["", "no control groups"])
def test_the_controller_declares_all_but_limits_that_nothing_enforces(
    *, attach: bool, lacking: str
) -> None:
    async def scenario(client: ServedClient) -> None:
        _lack_limits(client, lacking)
        request = csi.ControllerGetCapabilitiesRequest()
        answer = await client.controller.ControllerGetCapabilities(request, timeout=10)
        everything = set(CONTROLLER.Type.keys()) - {"UNKNOWN"}
        everything -= {"MODIFY_VOLUME"} if lacking else set()
        assert names_of(answer.capabilities, CONTROLLER) == everything - (
            set() if attach else set(IN_USE)
        )

    play(scenario, attach=attach)


def test_without_attach_publishing_is_unimplemented_and_nothing_else_is() -> None:
    async def scenario(client: ServedClient) -> None:
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
    async def scenario(client: ServedClient) -> None:
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
    async def scenario(client: ServedClient) -> None:
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
    async def scenario(client: ServedClient) -> None:
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
    async def scenario(client: ServedClient) -> None:
        ask = client.controller.GetCapacity
        elsewhere = await ask(csi.GetCapacityRequest(accessible_topology=ELSEWHERE), timeout=10)
        assert elsewhere.available_capacity == elsewhere.maximum_volume_size.value == 0
        here = await ask(csi.GetCapacityRequest(accessible_topology=TOPOLOGY), timeout=10)
        assert here.available_capacity == here.maximum_volume_size.value == 100 * GIB
        assert here.minimum_volume_size.value == 16 << 20

    play(scenario)


def test_a_capability_that_no_volume_has_is_not_confirmed() -> None:
    async def scenario(client: ServedClient) -> None:
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


def _lack_limits(client: ServedClient, why: str) -> None:
    """Let the simulated machine be unable to enforce limits, for this reason; "": it can."""
    assert isinstance(client.pool.host, MemoryHost)
    client.pool.host.io_limits.lacking = why


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
@pytest.mark.parametrize("lacking", ["", "no control groups"])
def test_what_cannot_be_enforced_is_not_said_to_be(
    change: dict[str, str], code: str, lacking: str
) -> None:
    async def scenario(client: ServedClient) -> None:
        _lack_limits(client, lacking)
        volume = await client.create(parameters={"readIops": "0"})
        request = csi.ControllerModifyVolumeRequest(
            volume_id=volume.volume_id, mutable_parameters=change
        )
        codes = "OK"
        try:
            await client.controller.ControllerModifyVolume(request, timeout=10)
        except grpc.aio.AioRpcError as error:
            codes = error.code().name
        assert codes == (code if lacking or code != "FAILED_PRECONDITION" else "OK")

    play(scenario)


def test_lists_come_in_pages() -> None:
    async def scenario(client: ServedClient) -> None:
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


HERE = csi.Topology(segments={KEY: NODE})


def _of_snapshot(snapshot_id: str) -> csi.VolumeContentSource:
    source = csi.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
    return csi.VolumeContentSource(snapshot=source)


def test_a_snapshot_lives_and_is_restored() -> None:
    async def scenario(client: ServedClient) -> None:
        source = (await client.create()).volume_id
        controller = client.controller
        wanted = csi.CreateSnapshotRequest(name="s", source_volume_id=source)
        snapshot = (await controller.CreateSnapshot(wanted, timeout=10)).snapshot
        assert list(snapshot.accessible_topology) == [HERE]
        only = csi.TopologyRequirement(requisite=[HERE])
        wanted.accessibility_requirements.CopyFrom(only)
        again = (await controller.CreateSnapshot(wanted, timeout=10)).snapshot
        assert again.snapshot_id == snapshot.snapshot_id
        assert not again.accessible_topology
        request = csi.GetSnapshotRequest(snapshot_id=snapshot.snapshot_id)
        assert (await controller.GetSnapshot(request, timeout=10)).snapshot == snapshot
        page = await controller.ListSnapshots(
            csi.ListSnapshotsRequest(source_volume_id=source), timeout=10
        )
        assert [entry.snapshot for entry in page.entries] == [snapshot]
        nothing = csi.ListSnapshotsRequest(snapshot_id="none")
        assert not (await controller.ListSnapshots(nothing, timeout=10)).entries
        copy = await client.create("copy", volume_content_source=_of_snapshot(snapshot.snapshot_id))
        assert copy.content_source == _of_snapshot(snapshot.snapshot_id)
        delete = csi.DeleteSnapshotRequest(snapshot_id=snapshot.snapshot_id)
        for _ in range(2):
            await controller.DeleteSnapshot(delete, timeout=10)
        code, _ = await code_of(controller.GetSnapshot(request, timeout=10))
        assert code is grpc.StatusCode.NOT_FOUND

    play(scenario)


def test_what_is_ill_is_said_to_be() -> None:
    async def scenario(client: ServedClient) -> None:
        well, ill = [(await client.create(name)).volume_id for name in ("well", "ill")]
        backend = client.pool.backend
        assert isinstance(backend, FailingBackend)
        [image] = [image for image in backend.images() if str(image.id) == ill]
        backend.set_faults(
            image.id, Fault(FaultKind.FILESYSTEM_SHUT_DOWN, "it coughs", Severity.INACCESSIBLE)
        )
        backend.set_faults(None, Fault(FaultKind.POOL_NEARLY_FULL, "1 % is left"))
        controller = client.controller
        page = await controller.ControllerListVolumeHealth(
            csi.ControllerListVolumeHealthRequest(), timeout=10
        )
        [entry] = page.entries
        assert entry.volume_id == ill
        assert entry.health_statuses[0].status == csi.INACCESSIBLE
        for volume_id, count in ((well, 0), (ill, 1)):
            request = csi.ControllerGetVolumeHealthRequest(volume_id=volume_id)
            answer = await controller.ControllerGetVolumeHealth(request, timeout=10)
            assert len(answer.volume_health.health_statuses) == count
        volumes = await controller.ListVolumes(csi.ListVolumesRequest(), timeout=10)
        abnormal = {
            entry.volume.volume_id: entry.status.volume_condition for entry in volumes.entries
        }
        assert not abnormal[well].abnormal
        assert abnormal[ill].message == "FilesystemShutDown: it coughs"
        storage = await client.node.NodeGetStorageHealth(
            csi.NodeGetStorageHealthRequest(), timeout=10
        )
        assert [fault.reason for fault in storage.backend_health] == ["PoolNearlyFull"]

    play(scenario)


def test_a_capability_that_a_volume_has_is_confirmed() -> None:
    async def scenario(client: ServedClient) -> None:
        volume = await client.create()
        request = csi.ValidateVolumeCapabilitiesRequest(
            volume_id=volume.volume_id, volume_capabilities=[MOUNT]
        )
        answer = await client.controller.ValidateVolumeCapabilities(request, timeout=10)
        assert list(answer.confirmed.volume_capabilities) == [MOUNT]

    play(scenario)
