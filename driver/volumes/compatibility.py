"""Whether a volume is what a request takes it for. Pure: facts in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import AccessMode, Limits, Volume
from driver.core.options.mount_options import effective, require
from driver.core.options.volume_options import option_differences
from driver.volumes.requests import Capability, CreateVolume, ValidateCapabilities

_ELSEWHERE_TOO: Final = frozenset(
    {
        AccessMode.MULTI_NODE_READER_ONLY,
        AccessMode.MULTI_NODE_SINGLE_WRITER,
        AccessMode.MULTI_NODE_MULTI_WRITER,
    }
)


def incompatibility(volume: Volume, capability: Capability) -> str | None:
    """Return why the volume cannot be used as `capability` says; None if it can."""
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
    """Return whether the access mode, a mount option, or ControllerPublishVolume's `readonly`
    forbids writing.
    """
    published = volume.published is not None and volume.published.read_only
    return published or capability.mode.reads_only or "ro" in effective(capability.options).flags


def differences(pool_name: str, volume: Volume, wanted: CreateVolume) -> Iterator[str]:
    """Yield, as text, in what an existing volume differs from a CreateVolume request."""
    if volume.source != wanted.source:
        yield f"its source is {volume.source}, not {wanted.source}"
    if not _same_kind(volume, wanted):
        yield f"it is {_kind(volume)}, not {wanted.fs or 'a raw block volume'}"
    if volume.size not in wanted.range:
        yield (
            f"its {volume.size} bytes are not between required_bytes {wanted.range.required}"
            f" and limit_bytes {wanted.range.limit}"
        )
    if wanted.encrypted is None and wanted.source is None and volume.luks_key_id is not None:
        yield "it is encrypted"
    yield from parameter_differences(pool_name, volume, wanted)


def parameter_differences(pool_name: str, volume: Volume, wanted: CreateVolume) -> Iterator[str]:
    """Yield, as text, in what the volume differs from those StorageClass parameters that were
    given.
    """
    if wanted.pool not in {None, pool_name}:
        yield f"its pool is {pool_name}, not {wanted.pool}"
    if wanted.allocation not in {None, volume.allocation}:
        yield f"its allocation is {volume.allocation}, not {wanted.allocation}"
    if wanted.encrypted not in {None, volume.luks_key_id is not None}:
        yield f"it is {'not ' if wanted.encrypted else ''}encrypted"
    if wanted.block_size not in {None, volume.block_size}:
        yield f"its blockSize is {volume.block_size}, not {wanted.block_size}"
    yield from option_differences(volume.options, wanted.options)


def unconfirmed(pool_name: str, volume: Volume, wanted: ValidateCapabilities) -> Iterator[str]:
    """Yield, as text, why ValidateVolumeCapabilities does not confirm what it was told of the
    volume.
    """
    for capability in wanted.capabilities:
        if reason := incompatibility(volume, capability) or _unknown_option(volume, capability):
            yield reason
    if unknown := sorted(key for key in wanted.context if not _is_kubernetes(key)):
        yield f"volume_context: volumes have none, and {', '.join(unknown)} was given"
    if (given := wanted.parameters) is None:
        return
    yield from parameter_differences(pool_name, volume, given)
    if given.fs_asked and given.fs not in {None, volume.fs}:
        yield f"it is {_kind(volume)}, not one with {given.fs}"
    if given.limits not in {Limits(), volume.limits}:
        yield f"its limits are {volume.limits}, not {given.limits}"


def _is_kubernetes(key: str) -> bool:
    """Return whether the key of a volume context is one that Kubernetes' provisioner adds."""
    return key.partition("/")[0].endswith(("kubernetes.io", "k8s.io"))


def _same_kind(volume: Volume, wanted: CreateVolume) -> bool:
    """Return whether the volume is what was asked for: raw block, the filesystem asked for by
    name, or any filesystem if none was.
    """
    if wanted.fs and volume.fs and not wanted.fs_asked:
        return True
    return volume.fs is wanted.fs


def _kind(volume: Volume) -> str:
    return f"a volume with {volume.fs}" if volume.fs else "a raw block volume"
