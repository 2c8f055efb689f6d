"""Parses the Controller service's requests about volumes into the requests of the use cases.

A malformed request is Invalid and changes nothing. The interceptor has checked required fields,
sizes and characters before. Ids are parsed first: an id that does not have the form of this
driver's ids is NotFound, whatever else is wrong with the request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import Invalid
from driver.core.ids import ImageId
from driver.core.model import FsType, ObjectKind
from driver.core.options import mount_options
from driver.core.options.storage_class_parameters import parse_options
from driver.csi import capability, parameters
from driver.volumes import requests
from driver.volumes.paging import parse_token

DEFAULT_FS: Final = FsType.EXT4


def create(request: csi.CreateVolumeRequest) -> requests.CreateVolume:
    """Return the request to create a volume. If the message names no filesystem, ext4 is requested.

    Raises: Invalid: a field or parameter is malformed or unsupported; NotFound: the source's id
    does not have the form of this driver's ids.
    """
    capabilities = capability.parse_all(request.volume_capabilities)
    parsed = parameters.parse(request.parameters, request.mutable_parameters)
    named = capability.agreed(capabilities, parsed.fs)
    fs = None if _are_block(capabilities) else named or DEFAULT_FS
    for use in capabilities:
        mount_options.require(use.options, fs)
    return requests.CreateVolume(
        name=request.name,
        key=ids.volume_key(request.name),
        range=capacity(request.capacity_range),
        fs=fs,
        fs_asked=named is not None,
        options=parse_options(parsed.options, fs),
        pool=parsed.pool,
        allocation=parsed.allocation,
        block_size=parsed.block_size,
        encrypted=parsed.encrypted,
        limits=parsed.limits,
        source=_source(request.volume_content_source),
        objects=parameters.object_names(request.parameters, ObjectKind.CLAIM, request.name),
    )


def validate(request: csi.ValidateVolumeCapabilitiesRequest) -> requests.ValidateCapabilities:
    """Return the request to validate capabilities.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Invalid: another
    field is malformed.
    """
    return requests.ValidateCapabilities(
        volume_id=ids.parse_volume_id(request.volume_id),
        capabilities=capability.parse_all(request.volume_capabilities),
        context=dict(request.volume_context),
        parameters=_parse_class_parameters(request),
    )


def delete_volume(volume_id: str) -> requests.DeleteVolume:
    """Return the request to delete the volume with this id.

    Raises: NotFound: the id does not have the form of this driver's ids.
    """
    return requests.DeleteVolume(ids.parse_volume_id(volume_id))


def get_volume(volume_id: str) -> requests.GetVolume:
    """Return the request to read the volume with this id.

    Raises: NotFound: the id does not have the form of this driver's ids.
    """
    return requests.GetVolume(ids.parse_volume_id(volume_id))


def publish(
    request: csi.ControllerPublishVolumeRequest, *, known: bool = False
) -> requests.Publish:
    """Return the request to publish a volume to a node.

    `known`: True if a router has confirmed that the node exists. Raises: NotFound: the volume id
    does not have the form of this driver's ids; Invalid: another field is malformed.
    """
    return requests.Publish(
        volume_id=ids.parse_volume_id(request.volume_id),
        node=request.node_id,
        known=known,
        read_only=request.readonly,
        capability=capability.parse(request.volume_capability),
    )


def unpublish(request: csi.ControllerUnpublishVolumeRequest) -> requests.Unpublish:
    """Return the request to unpublish a volume: from one node, or from all if none is named.

    Raises: NotFound: the volume id does not have the form of this driver's ids.
    """
    return requests.Unpublish(ids.parse_volume_id(request.volume_id), request.node_id or None)


def expand(request: csi.ControllerExpandVolumeRequest) -> requests.Expand:
    """Return the request to expand a volume.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Invalid: a field is
    malformed, or neither required_bytes nor limit_bytes is given.
    """
    volume_id = ids.parse_volume_id(request.volume_id)
    size = capacity(request.capacity_range)
    if not (size.required or size.limit):
        raise Invalid("capacity_range: required_bytes or limit_bytes is required")
    return requests.Expand(volume_id, size, optional_capability(request))


def modify(request: csi.ControllerModifyVolumeRequest) -> requests.Modify:
    """Return the request to change a volume's IO limits.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Invalid: a
    parameter is unknown or malformed.
    """
    volume_id = ids.parse_volume_id(request.volume_id)
    return requests.Modify(volume_id, parameters.parse_limits(request.mutable_parameters))


def list_volumes(
    request: csi.ListVolumesRequest | csi.ControllerListVolumeHealthRequest,
) -> requests.ListVolumes:
    """Return the request for a page of volumes, or of their health.

    Raises: Invalid: the number of entries is negative; StaleToken: the message's page token is not
    one that this driver issued.
    """
    return requests.ListVolumes(*page_arguments(request, ids.parse_volume_id))


def get_capacity(request: csi.GetCapacityRequest) -> requests.GetCapacity:
    """Return the request for the capacity. If the message names no filesystem, ext4 is assumed.

    Raises: Invalid: a capability or parameter is malformed or unsupported.
    """
    parsed = parameters.parse(request.parameters, {})
    capabilities = capability.parse_all(request.volume_capabilities)
    named = capability.agreed(capabilities, parsed.fs)
    fs = None if _are_block(capabilities) else named or DEFAULT_FS
    parse_options(parsed.options, fs)  # Invalid, as CreateVolume would say
    return requests.GetCapacity(
        fs=fs, pool=parsed.pool, allocation=parsed.allocation, encrypted=bool(parsed.encrypted)
    )


def capacity(message: csi.CapacityRange) -> CapacityRange:
    """Return the requested range of sizes in bytes; a bound of 0: no bound. Raises: Invalid: a
    bound is negative, or the lower one exceeds the upper one.
    """
    return CapacityRange(message.required_bytes, message.limit_bytes)


def _are_block(capabilities: Sequence[requests.Capability]) -> bool:
    return any(use.block for use in capabilities)


def _source(message: csi.VolumeContentSource) -> ImageId | None:
    match message.WhichOneof("type"):
        case "snapshot":
            return ids.parse_snapshot_id(message.snapshot.snapshot_id)
        case "volume":
            return ids.parse_volume_id(message.volume.volume_id)
    return None


def _parse_class_parameters(
    request: csi.ValidateVolumeCapabilitiesRequest,
) -> requests.CreateVolume | None:
    if not (request.parameters or request.mutable_parameters):
        return None
    return create(
        csi.CreateVolumeRequest(
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
            mutable_parameters=request.mutable_parameters,
        )
    )


def optional_capability(
    request: csi.ControllerExpandVolumeRequest | csi.NodeExpandVolumeRequest,
) -> requests.Capability | None:
    """Return the request's volume capability; None: it has none. Raises: Invalid: the capability is
    unsupported.
    """
    if not request.HasField("volume_capability"):
        return None
    return capability.parse(request.volume_capability)


def page_arguments(
    request: csi.ListVolumesRequest
    | csi.ControllerListVolumeHealthRequest
    | csi.ListSnapshotsRequest,
    parse_id: Callable[[str], ImageId],
) -> tuple[int, str]:
    """Return the maximal number of entries (0: all) and the id after which the page begins ("": the
    first page).

    `parse_id`: parses ids of the listed kind. Raises: Invalid: the number of entries is negative;
    StaleToken: the message's page token is not one that this driver issued.
    """
    if request.max_entries < 0:
        raise Invalid("max_entries must not be negative; 0 is no limit")
    return request.max_entries, parse_token(request.starting_token, parse_id)
