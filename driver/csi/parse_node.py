"""Parses the requests of the Node service into the requests of the use cases; see parse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from csi_proto import csi_pb2 as csi
from driver.core import ids
from driver.core.capacity import CapacityRange
from driver.core.errors import Invalid, NotFound
from driver.core.ids import InlineHandle
from driver.core.model import AccessMode, ObjectKind
from driver.core.options import mount_options
from driver.csi import capability, parameters, parse
from driver.csi.checks import field_limits
from driver.volumes import node_requests, requests

PASSPHRASE: Final = "passphrase"  # noqa: S105 - the key in a Secret


def stage(request: csi.NodeStageVolumeRequest) -> node_requests.Stage:
    """Return the request to stage a volume.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Invalid: a field is
    malformed or unsupported.
    """
    return node_requests.Stage(
        volume_id=ids.parse_volume_id(request.volume_id),
        staging=field_limits.path(request.staging_target_path, "staging_target_path"),
        capability=capability.parse(request.volume_capability),
        secret=_passphrase(request),
    )


def unstage(request: csi.NodeUnstageVolumeRequest) -> node_requests.Unstage:
    """Return the request to unstage a volume.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Invalid: the
    staging path is malformed.
    """
    volume_id = ids.parse_volume_id(request.volume_id)
    staging = field_limits.path(request.staging_target_path, "staging_target_path")
    return node_requests.Unstage(volume_id, staging)


def publish(
    request: csi.NodePublishVolumeRequest,
) -> node_requests.NodePublish | node_requests.InlinePublish:
    """Return the request to publish a persistent volume, or an inline volume if the volume context
    marks it as one.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Refused: there is
    no staging path; Invalid: a field is malformed or unsupported.
    """
    if request.volume_context.get(parameters.EPHEMERAL) == "true":
        return _inline(request)
    return node_requests.NodePublish(
        volume_id=ids.parse_volume_id(request.volume_id),
        target=field_limits.path(request.target_path, "target_path"),
        staging=field_limits.staging_path(request.staging_target_path),
        read_only=request.readonly,
        capability=capability.parse(request.volume_capability),
    )


def unpublish(
    request: csi.NodeUnpublishVolumeRequest,
) -> node_requests.NodeUnpublish | node_requests.InlineUnpublish:
    """Return the request to unpublish a persistent or an inline volume, depending on the form of
    its id.

    Raises: NotFound: the id has neither form; Invalid: the target path is malformed.
    """
    target = field_limits.path(request.target_path, "target_path")
    match ids.parse_handle(request.volume_id):
        case InlineHandle() as handle:
            return node_requests.InlineUnpublish(handle, target)
        case volume_id:
            return node_requests.NodeUnpublish(volume_id, target)


def expand(request: csi.NodeExpandVolumeRequest) -> node_requests.NodeExpand:
    """Return the request to expand a volume on this node.

    Raises: NotFound: the volume id does not have the form of this driver's ids; Invalid: another
    field is malformed.
    """
    return node_requests.NodeExpand(
        ids.parse_volume_id(request.volume_id),
        field_limits.path(request.volume_path, "volume_path"),
        parse.capacity(request.capacity_range),
        parse.optional_capability(request),
        _passphrase(request),
    )


def stats(
    request: csi.NodeGetVolumeStatsRequest,
) -> node_requests.GetVolumeStats | node_requests.InlineStats:
    """Return the request for the usage of a persistent or an inline volume, depending on the form
    of its id.

    Raises: NotFound: the id has neither form, or no volume can be at the path; Invalid: the staging
    path is malformed.
    """
    return _stats(request, field_limits.volume_path(request.volume_path))


def health(
    request: csi.NodeGetVolumeHealthRequest,
) -> node_requests.GetVolumeStats | node_requests.InlineStats:
    """Return the request for the health of a persistent or an inline volume, depending on the form
    of its id.

    Raises: NotFound: the id has neither form; Invalid: a path is malformed.
    """
    path = field_limits.optional_path(request.volume_publish_path, "volume_publish_path")
    return _stats(request, path)


def _stats(
    request: csi.NodeGetVolumeStatsRequest | csi.NodeGetVolumeHealthRequest, path: Path | None
) -> node_requests.GetVolumeStats | node_requests.InlineStats:
    """Return the request about a volume at the path where a pod has it."""
    staging = field_limits.optional_path(request.staging_target_path, "staging_target_path")
    match ids.parse_handle(request.volume_id):
        case InlineHandle() as handle:
            return node_requests.InlineStats(handle, path)
        case volume_id:
            return node_requests.GetVolumeStats(volume_id, path, staging)


def _inline(request: csi.NodePublishVolumeRequest) -> node_requests.InlinePublish:
    """Return the request for an inline volume, which this call describes completely.

    Raises: Invalid.
    """
    try:
        handle = ids.parse_inline_handle(request.volume_id)
    except NotFound as error:
        raise Invalid(f"volume_id: {error}: kubelet makes no such id") from None
    target = field_limits.path(request.target_path, "target_path")
    use = capability.parse(request.volume_capability)
    if use.block:
        raise Invalid("volume_capability.block: an inline volume has a filesystem")
    parsed, size = parameters.parse_inline(request.volume_context)
    named = capability.agreed([use], parsed.fs)
    mount_options.require(use.options, named or parse.DEFAULT_FS)
    create = requests.CreateVolume(
        name=handle.text,
        key=handle.key,
        range=CapacityRange(size),
        fs=named or parse.DEFAULT_FS,
        fs_asked=named is not None,
        pool=parsed.pool,
        allocation=parsed.allocation,
        block_size=parsed.block_size,
        encrypted=parsed.encrypted,
        limits=parsed.limits,
        inline=True,
        objects=parameters.object_names(request.volume_context, ObjectKind.POD),
    )
    if request.readonly:
        use = replace(use, mode=AccessMode.SINGLE_NODE_READER_ONLY)
    return node_requests.InlinePublish(create, target, use)


def _passphrase(request: csi.NodeStageVolumeRequest | csi.NodeExpandVolumeRequest) -> bytes | None:
    """Return the passphrase byte for byte, or None: cryptsetup does not trim a key file either."""
    return request.secrets.get(PASSPHRASE, "").encode() or None
