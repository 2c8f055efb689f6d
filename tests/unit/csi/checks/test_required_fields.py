"""The table of REQUIRED fields, against the descriptors and request by request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from csi_proto import csi_pb2 as csi
from driver.core.errors import Invalid
from driver.csi.checks import required_fields
from driver.csi.checks.required_fields import REQUIRED

CAPABILITY = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(),
    access_mode=csi.VolumeCapability.AccessMode(
        mode=csi.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)
RANGE = csi.CapacityRange(required_bytes=1)

COMPLETE: dict[str, dict[str, Any]] = {
    "CreateVolume": {"name": "n", "volume_capabilities": [CAPABILITY]},
    "DeleteVolume": {"volume_id": "v"},
    "ControllerPublishVolume": {
        "volume_id": "v",
        "node_id": "n",
        "volume_capability": CAPABILITY,
    },
    "ControllerUnpublishVolume": {"volume_id": "v"},
    "ValidateVolumeCapabilities": {"volume_id": "v", "volume_capabilities": [CAPABILITY]},
    "ControllerGetVolumeHealth": {"volume_id": "v"},
    "CreateSnapshot": {"name": "n", "source_volume_id": "v"},
    "DeleteSnapshot": {"snapshot_id": "s"},
    "GetSnapshot": {"snapshot_id": "s"},
    "ControllerExpandVolume": {"volume_id": "v", "capacity_range": RANGE},
    "ControllerGetVolume": {"volume_id": "v"},
    "ControllerModifyVolume": {"volume_id": "v", "mutable_parameters": {"a": "b"}},
    "CreateVolumeGroupSnapshot": {"name": "n", "source_volume_ids": ["v"]},
    "DeleteVolumeGroupSnapshot": {"group_snapshot_id": "g"},
    "GetVolumeGroupSnapshot": {"group_snapshot_id": "g"},
    "GetMetadataAllocated": {"snapshot_id": "s"},
    "GetMetadataDelta": {"base_snapshot_id": "s", "target_snapshot_id": "s"},
    "NodeStageVolume": {
        "volume_id": "v",
        "staging_target_path": "/s",
        "volume_capability": CAPABILITY,
    },
    "NodeUnstageVolume": {"volume_id": "v", "staging_target_path": "/s"},
    "NodePublishVolume": {
        "volume_id": "v",
        "target_path": "/t",
        "volume_capability": CAPABILITY,
    },
    "NodeUnpublishVolume": {"volume_id": "v", "target_path": "/t"},
    "NodeGetVolumeStats": {"volume_id": "v", "volume_path": "/t"},
    "NodeGetVolumeHealth": {"volume_id": "v"},
    "NodeExpandVolume": {"volume_id": "v", "volume_path": "/t"},
}


def _methods() -> Iterator[tuple[str, Descriptor]]:
    for service in csi.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            yield method.name, method.input_type


def _request(rpc: str, **fields: Any) -> Message:
    return GetMessageClass(dict(_methods())[rpc])(**fields)


def test_the_table_has_all_36_rpcs_and_no_other() -> None:
    assert sorted(REQUIRED) == sorted(name for name, _ in _methods())
    assert len(REQUIRED) == 36


@pytest.mark.parametrize("rpc", sorted(REQUIRED))
def test_every_field_of_the_table_is_one_of_the_request(rpc: str) -> None:
    for field in REQUIRED[rpc]:
        message: Descriptor | None = dict(_methods())[rpc]
        for step in field.split("."):
            assert message is not None
            name = step.rstrip("?[]")
            assert name in message.fields_by_name or name in message.oneofs_by_name
            known = message.fields_by_name.get(name)
            message = known.message_type if known else None


@pytest.mark.parametrize("rpc", sorted(REQUIRED))
def test_a_request_with_all_that_is_required_passes(rpc: str) -> None:
    required_fields.check(rpc, _request(rpc, **COMPLETE.get(rpc, {})))


@pytest.mark.parametrize(
    ("rpc", "field"), [(rpc, field) for rpc, fields in COMPLETE.items() for field in fields]
)
def test_what_is_missing_is_named(rpc: str, field: str) -> None:
    request = _request(rpc, **COMPLETE[rpc])
    request.ClearField(field)
    with pytest.raises(Invalid, match=f"^{field} is required$"):
        required_fields.check(rpc, request)


def test_a_capability_without_access_type_or_mode_is_not_one() -> None:
    no_type = csi.VolumeCapability(access_mode=CAPABILITY.access_mode)
    no_mode = csi.VolumeCapability(mount=CAPABILITY.mount)
    unknown = csi.VolumeCapability(
        mount=CAPABILITY.mount, access_mode=csi.VolumeCapability.AccessMode()
    )
    for capability, field in (
        (no_type, "access_type"),
        (no_mode, "access_mode"),
        (unknown, "access_mode.mode"),
    ):
        request = _request("CreateVolume", name="n", volume_capabilities=[CAPABILITY, capability])
        with pytest.raises(Invalid, match=rf"volume_capabilities\[\]\.{field} is required"):
            required_fields.check("CreateVolume", request)


def test_an_optional_message_is_checked_only_where_it_is() -> None:
    request = _request("NodeExpandVolume", **COMPLETE["NodeExpandVolume"])
    request.MergeFrom(csi.NodeExpandVolumeRequest(volume_capability=csi.VolumeCapability()))
    with pytest.raises(Invalid, match=r"volume_capability\.access_type is required"):
        required_fields.check("NodeExpandVolume", request)


def test_a_source_that_is_there_must_say_which() -> None:
    fields = COMPLETE["CreateVolume"]
    for source, missing in (
        (csi.VolumeContentSource(), "type"),
        (
            csi.VolumeContentSource(snapshot=csi.VolumeContentSource.SnapshotSource()),
            "snapshot.snapshot_id",
        ),
        (
            csi.VolumeContentSource(volume=csi.VolumeContentSource.VolumeSource()),
            "volume.volume_id",
        ),
    ):
        request = _request("CreateVolume", **fields, volume_content_source=source)
        with pytest.raises(Invalid, match=f"volume_content_source.{missing} is required"):
            required_fields.check("CreateVolume", request)


def test_an_empty_id_in_a_list_is_missing() -> None:
    request = _request("CreateVolumeGroupSnapshot", name="n", source_volume_ids=["v", ""])
    with pytest.raises(Invalid, match=r"source_volume_ids\[\] is required"):
        required_fields.check("CreateVolumeGroupSnapshot", request)
