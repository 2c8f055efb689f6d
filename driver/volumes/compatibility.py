"""Compares a volume with what a request expects of it. Pure functions that return texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import AccessMode, Limits, Volume
from driver.core.options.mount_options import effective, require
from driver.core.options.storage_class_parameters import option_differences
from driver.volumes.requests import Capability, CreateVolume, ValidateCapabilities

_ELSEWHERE_TOO: Final = frozenset(
    {
        AccessMode.MULTI_NODE_READER_ONLY,
        AccessMode.MULTI_NODE_SINGLE_WRITER,
        AccessMode.MULTI_NODE_MULTI_WRITER,
    }
)


def incompatibility(volume: Volume, capability: Capability) -> str | None:
    """Return why the volume cannot be used with this access mode, access type and mount options;
    None: it can be used.
    """
    if capability.mode in _ELSEWHERE_TOO:
        return f"volume_capability: {capability.mode} needs several nodes, the volume is on one"
    if capability.block is not (volume.fs is None):
        return f"volume_capability: volume {volume.id} is {_kind(volume)}"
    if capability.fs not in {None, volume.fs}:
        return f"volume_capability: volume {volume.id} carries {volume.fs}, not {capability.fs}"
    return None


def _unknown_option(volume: Volume, capability: Capability) -> str | None:
    """Return why the volume's filesystem cannot be mounted with the capability's options; None if
    it can.
    """
    try:
        require(capability.options, volume.fs)
    except Invalid as error:
        return str(error)
    return None


def reads_only(volume: Volume, capability: Capability) -> bool:
    """Return whether the volume must not be written to, because of the access mode or a mount
    option in `capability`, or because of ControllerPublishVolume's `readonly`.
    """
    published = volume.published is not None and volume.published.read_only
    return published or capability.mode.reads_only or "ro" in effective(capability.options).flags


def differences(pool_name: str, volume: Volume, request: CreateVolume) -> Iterator[str]:
    """Yield, as texts, how an existing volume of the pool `pool_name` differs from what a
    CreateVolume request asks for.
    """
    if volume.source != request.source:
        yield f"its source is {volume.source}, not {request.source}"
    if not _same_kind(volume, request):
        yield f"it is {_kind(volume)}, not {request.fs or 'a raw block volume'}"
    if volume.size not in request.range:
        yield (
            f"its {volume.size} bytes are not between required_bytes {request.range.required}"
            f" and limit_bytes {request.range.limit}"
        )
    if request.encrypted is None and request.source is None and volume.luks_key_id is not None:
        yield "it is encrypted"
    yield from parameter_differences(pool_name, volume, request)


def parameter_differences(pool_name: str, volume: Volume, request: CreateVolume) -> Iterator[str]:
    """Yield, as texts, how a volume of the pool `pool_name` differs from the StorageClass
    parameters that the request contains.
    """
    if request.pool not in {None, pool_name}:
        yield f"its pool is {pool_name}, not {request.pool}"
    if request.allocation not in {None, volume.allocation}:
        yield f"its allocation is {volume.allocation}, not {request.allocation}"
    if request.encrypted not in {None, volume.luks_key_id is not None}:
        yield f"it is {'not ' if request.encrypted else ''}encrypted"
    if request.block_size not in {None, volume.block_size}:
        yield f"its blockSize is {volume.block_size}, not {request.block_size}"
    yield from option_differences(volume.options, request.options)


def unconfirmed(pool_name: str, volume: Volume, request: ValidateCapabilities) -> Iterator[str]:
    """Yield, as texts, how a volume of the pool `pool_name` differs from its description in a
    ValidateVolumeCapabilities request.
    """
    for capability in request.capabilities:
        if reason := incompatibility(volume, capability) or _unknown_option(volume, capability):
            yield reason
    if unknown := sorted(key for key in request.context if not _is_kubernetes(key)):
        yield f"volume_context: volumes have none, and {', '.join(unknown)} was given"
    if (given := request.parameters) is None:
        return
    yield from parameter_differences(pool_name, volume, given)
    if given.fs_asked and given.fs not in {None, volume.fs}:
        yield f"it is {_kind(volume)}, not one with {given.fs}"
    if given.limits not in {Limits(), volume.limits}:
        yield f"its limits are {volume.limits}, not {given.limits}"


def _is_kubernetes(key: str) -> bool:
    """Return whether the key of a volume context is one that Kubernetes' provisioner adds."""
    return key.partition("/")[0].endswith(("kubernetes.io", "k8s.io"))


def _same_kind(volume: Volume, request: CreateVolume) -> bool:
    """Return whether the volume is what was asked for: raw block, the filesystem asked for by
    name, or any filesystem if none was.
    """
    if request.fs and volume.fs and not request.fs_asked:
        return True
    return volume.fs is request.fs


def _kind(volume: Volume) -> str:
    return f"a volume with {volume.fs}" if volume.fs else "a raw block volume"
