"""The fields of all 36 RPCs that the CSI specification marks as REQUIRED.

`a.b` is a field of a sub-message, `a[]` every entry of a list. A REQUIRED boolean or number is not
listed, because proto3 cannot distinguish a missing one. `snapshot_ids` of the two group calls is
REQUIRED by the specification but not listed: csi-sanity and sidecars omit it, and this driver does
not need it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from driver.core.errors import Invalid

_CAPABILITY: Final = (
    "volume_capability",
    "volume_capability.access_type",
    "volume_capability.access_mode",
    "volume_capability.access_mode.mode",
)
_CAPABILITIES: Final = (
    "volume_capabilities",
    "volume_capabilities[].access_type",
    "volume_capabilities[].access_mode",
    "volume_capabilities[].access_mode.mode",
)
# Fields of an optional message: required only if the message is present.
_IF_CAPABILITY: Final = tuple(
    field.replace("capability", "capability?", 1) for field in _CAPABILITY[1:]
)

REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    # Identity
    "GetPluginInfo": (),
    "GetPluginCapabilities": (),
    "Probe": (),
    # Controller
    "CreateVolume": (
        "name",
        *_CAPABILITIES,
        "volume_content_source?.type",
        "volume_content_source?.snapshot?.snapshot_id",
        "volume_content_source?.volume?.volume_id",
    ),
    "DeleteVolume": ("volume_id",),
    "ControllerPublishVolume": ("volume_id", "node_id", *_CAPABILITY),
    "ControllerUnpublishVolume": ("volume_id",),
    "ValidateVolumeCapabilities": ("volume_id", *_CAPABILITIES),
    "ListVolumes": (),
    "ControllerListVolumeHealth": (),
    "ControllerGetVolumeHealth": ("volume_id",),
    "GetCapacity": _CAPABILITIES[1:],
    "ControllerGetCapabilities": (),
    "CreateSnapshot": ("name", "source_volume_id"),
    "DeleteSnapshot": ("snapshot_id",),
    "ListSnapshots": (),
    "GetSnapshot": ("snapshot_id",),
    "ControllerExpandVolume": ("volume_id", "capacity_range", *_IF_CAPABILITY),
    "ControllerGetVolume": ("volume_id",),
    "ControllerModifyVolume": ("volume_id", "mutable_parameters"),
    # GroupController
    "GroupControllerGetCapabilities": (),
    "CreateVolumeGroupSnapshot": ("name", "source_volume_ids", "source_volume_ids[]"),
    "DeleteVolumeGroupSnapshot": ("group_snapshot_id",),
    "GetVolumeGroupSnapshot": ("group_snapshot_id",),
    # SnapshotMetadata
    "GetMetadataAllocated": ("snapshot_id",),
    "GetMetadataDelta": ("base_snapshot_id", "target_snapshot_id"),
    # Node
    "NodeStageVolume": ("volume_id", "staging_target_path", *_CAPABILITY),
    "NodeUnstageVolume": ("volume_id", "staging_target_path"),
    "NodePublishVolume": ("volume_id", "target_path", *_CAPABILITY),
    "NodeUnpublishVolume": ("volume_id", "target_path"),
    "NodeGetVolumeStats": ("volume_id", "volume_path"),
    "NodeGetVolumeHealth": ("volume_id",),
    "NodeGetStorageHealth": (),
    "NodeExpandVolume": ("volume_id", "volume_path", *_IF_CAPABILITY),
    "NodeGetCapabilities": (),
    "NodeGetInfo": (),
}


_STEPS: Final = {
    rpc: tuple((field, tuple(field.split("."))) for field in fields)
    for rpc, fields in REQUIRED.items()
}


def check(rpc: str, request: Message) -> None:
    """Check that the request has all fields that CSI marks as REQUIRED for `rpc`.

    Raises: Invalid, whose text names the first missing field.
    """
    for field, steps in _STEPS.get(rpc, ()):
        if _missing(request, steps):
            raise Invalid(f"{field.replace('?', '')} is required")


def _missing(value: Any, steps: tuple[str, ...]) -> bool:
    """Return whether the field to which `steps` lead from the message `value` is missing."""
    if not steps:
        return not value
    name, rest = steps[0].rstrip("?[]"), steps[1:]
    kind = _kind(value.DESCRIPTOR, name)
    if kind == "oneof":
        return not value.WhichOneof(name)
    if steps[0].endswith("[]"):
        return any(_missing(entry, rest) for entry in getattr(value, name))
    if kind == "message" and not value.HasField(name):
        return not steps[0].endswith("?")
    return _missing(getattr(value, name), rest)


@cache
def _kind(message: Descriptor, name: str) -> str:
    if name in message.oneofs_by_name:
        return "oneof"
    field = message.fields_by_name[name]
    return "message" if field.message_type is not None and not field.is_repeated else "other"
