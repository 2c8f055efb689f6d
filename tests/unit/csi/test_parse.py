"""Requests into intents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import CellarError, Invalid, NotFound, StaleToken
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import FsType
from driver.csi import parse, parse_node, parse_snapshots
from driver.volumes import requests
from driver.volumes.locks import Locks
from tests.unit.csi.messages import BLOCK, MOUNT, V

W = VolumeId("0123456789ab", "1" * 32)
S = SnapshotId("0123456789ab", "2" * 32)
GROUP = "3" * 32


def of_volume(volume_id: object) -> csi.VolumeContentSource:
    source = csi.VolumeContentSource.VolumeSource(volume_id=str(volume_id))
    return csi.VolumeContentSource(volume=source)


def of_snapshot(snapshot_id: object) -> csi.VolumeContentSource:
    source = csi.VolumeContentSource.SnapshotSource(snapshot_id=str(snapshot_id))
    return csi.VolumeContentSource(snapshot=source)


# create


def test_the_least_that_can_be_asked() -> None:
    parsed = parse.create(csi.CreateVolumeRequest(name="data", volume_capabilities=[MOUNT]))
    assert parsed == requests.CreateVolume(
        name="data",
        key=ids.volume_key("data"),
        range=CapacityRange(),
        fs=FsType.EXT4,
        fs_asked=False,
    )


def test_a_block_volume_has_no_filesystem() -> None:
    parsed = parse.create(csi.CreateVolumeRequest(name="data", volume_capabilities=[BLOCK]))
    assert parsed.fs is None


def test_a_filesystem_that_was_named_was_asked_for() -> None:
    request = csi.CreateVolumeRequest(name="data", volume_capabilities=[MOUNT])
    request.parameters["csi.storage.k8s.io/fstype"] = "ext4"
    assert parse.create(request).fs_asked


@pytest.mark.parametrize(("source", "image"), [(of_volume(V), V), (of_snapshot(S), S)])
def test_a_source_is_one_of_ours(source: csi.VolumeContentSource, image: ids.ImageId) -> None:
    request = csi.CreateVolumeRequest(
        name="data", volume_capabilities=[MOUNT], volume_content_source=source
    )
    assert parse.create(request).source == image


@pytest.mark.parametrize("source", [of_volume("../../etc"), of_snapshot("-o")])
def test_a_source_that_cannot_be_ours_is_not_found(source: csi.VolumeContentSource) -> None:
    request = csi.CreateVolumeRequest(
        name="data", volume_capabilities=[MOUNT], volume_content_source=source
    )
    with pytest.raises(NotFound):
        parse.create(request)


def test_a_range_is_checked() -> None:
    for required, limit in ((-1, 0), (0, -1), (2, 1)):
        request = csi.CreateVolumeRequest(
            name="data",
            volume_capabilities=[MOUNT],
            capacity_range=csi.CapacityRange(required_bytes=required, limit_bytes=limit),
        )
        with pytest.raises(Invalid, match="capacity_range"):
            parse.create(request)


@given(
    st.text(max_size=40),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([MOUNT, BLOCK]),
    st.dictionaries(
        st.sampled_from(["pool", "allocation", "mkfsOptions", "blockSize", "readBps"]),
        st.sampled_from(["", "thick", "sparse", "512", "-m 1", "10MiB", "--help", "/etc"]),
    ),
)
def test_a_create_is_an_intent_or_invalid_and_always_the_same(
    name: str, required: int, limit: int, capability: csi.VolumeCapability, given: dict[str, str]
) -> None:
    request = csi.CreateVolumeRequest(
        name=name,
        volume_capabilities=[capability],
        capacity_range=csi.CapacityRange(required_bytes=required, limit_bytes=limit),
        parameters=given,
    )
    try:
        parsed = parse.create(request)
    except Invalid:
        return
    assert parsed == parse.create(csi.CreateVolumeRequest.FromString(request.SerializeToString()))
    assert parsed.locks == Locks(frozenset({ids.volume_key(name)}))
    assert (parsed.range.required, parsed.range.limit) == (required, limit)


# other calls about volumes


def test_an_expansion_must_say_how_far() -> None:
    request = csi.ControllerExpandVolumeRequest(
        volume_id=str(V), capacity_range=csi.CapacityRange()
    )
    with pytest.raises(Invalid, match="required_bytes or limit_bytes is required"):
        parse.expand(request)
    request.capacity_range.required_bytes = 5
    assert parse.expand(request) == requests.Expand(V, CapacityRange(5), None)
    request.volume_capability.CopyFrom(BLOCK)
    parsed = parse.expand(request).capability
    assert parsed
    assert parsed.block


def test_only_the_limits_that_are_named_change() -> None:
    request = csi.ControllerModifyVolumeRequest(
        volume_id=str(V), mutable_parameters={"readIops": "7", "writeBps": "0"}
    )
    change = parse.modify(request)
    assert change.limits == {"read_iops": 7, "write_bps": 0}
    assert change.locks == Locks(frozenset({V.key}))


def test_publish_and_unpublish() -> None:
    request = csi.ControllerPublishVolumeRequest(
        volume_id=str(V), node_id="n", volume_capability=MOUNT, readonly=True
    )
    parsed = parse.publish(request)
    assert (parsed.volume_id, parsed.node, parsed.read_only) == (V, "n", True)
    undo = csi.ControllerUnpublishVolumeRequest(volume_id=str(V))
    assert parse.unpublish(undo) == requests.Unpublish(V, None)
    undo.node_id = "n"
    assert parse.unpublish(undo) == requests.Unpublish(V, "n")


def test_validation_takes_parameters_for_what_create_would_make_of_them() -> None:
    request = csi.ValidateVolumeCapabilitiesRequest(
        volume_id=str(V), volume_capabilities=[MOUNT], volume_context={"a": "b"}
    )
    assert parse.validate(request).parameters is None
    request.parameters["blockSize"] = "4096"
    parsed = parse.validate(request)
    assert parsed.parameters
    assert parsed.parameters.block_size == 4096
    assert parsed.context == {"a": "b"}


def test_capacity_is_of_what_create_would_make() -> None:
    request = csi.GetCapacityRequest()
    assert parse.get_capacity(request).fs is FsType.EXT4
    request.volume_capabilities.append(BLOCK)
    assert parse.get_capacity(request).fs is None
    request = csi.GetCapacityRequest(parameters={"pool": "p", "allocation": "thick"})
    assert (parse.get_capacity(request).pool, parse.get_capacity(request).allocation) == (
        "p",
        "thick",
    )


# lists


def test_pages_go_on_after_an_id_of_ours() -> None:
    assert parse.list_volumes(csi.ListVolumesRequest()) == requests.ListVolumes()
    request = csi.ListVolumesRequest(max_entries=5, starting_token=str(V))
    assert parse.list_volumes(request) == requests.ListVolumes(5, str(V))
    with pytest.raises(Invalid, match="max_entries"):
        parse.list_volumes(csi.ControllerListVolumeHealthRequest(max_entries=-1))
    with pytest.raises(StaleToken, match="starting_token"):
        parse.list_volumes(csi.ListVolumesRequest(starting_token="invalid-token"))


# ids

BY_ID: list[Callable[[str], Any]] = [
    parse.delete_volume,
    parse.get_volume,
    parse_snapshots.delete,
    parse_snapshots.get,
    lambda text: parse.expand(csi.ControllerExpandVolumeRequest(volume_id=text)),
    lambda text: parse.modify(csi.ControllerModifyVolumeRequest(volume_id=text)),
    lambda text: parse.publish(csi.ControllerPublishVolumeRequest(volume_id=text)),
    lambda text: parse_snapshots.create(csi.CreateSnapshotRequest(source_volume_id=text)),
    lambda text: parse_node.stage(csi.NodeStageVolumeRequest(volume_id=text)),
    lambda text: parse_node.publish(csi.NodePublishVolumeRequest(volume_id=text)),
    lambda text: parse_node.expand(csi.NodeExpandVolumeRequest(volume_id=text)),
    lambda text: parse_node.stats(csi.NodeGetVolumeStatsRequest(volume_id=text)),
]


@pytest.mark.parametrize("call", BY_ID)
@pytest.mark.parametrize(
    "text", ["fake-vol-id", "../../etc", "-o", str(V).upper(), f"{V}\n", f"{V}/."]
)
def test_an_id_that_we_could_not_have_made_is_not_found_whatever_else_is_wrong(
    call: Callable[[str], Any], text: str
) -> None:
    with pytest.raises(NotFound):
        call(text)


@given(st.text(max_size=60))
def test_no_text_but_an_id_names_anything(text: str) -> None:
    try:
        parsed = parse.delete_volume(text)
    except CellarError:
        return
    assert str(parsed.volume_id) == text


@pytest.mark.parametrize(("text", "encrypted"), [("true", True), ("false", False), (None, None)])
def test_encryption_is_asked_for_refused_or_left_to_the_source(
    text: str | None, encrypted: object
) -> None:
    given = {"encrypted": text} if text else {}
    request = csi.CreateVolumeRequest(name="v", volume_capabilities=[MOUNT], parameters=given)
    assert parse.create(request).encrypted is encrypted
    capacity = csi.GetCapacityRequest(volume_capabilities=[MOUNT], parameters=given)
    assert parse.get_capacity(capacity).encrypted is bool(encrypted)
