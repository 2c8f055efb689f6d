"""The requests of the Node service as frozen, validated arguments of the use cases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from driver.core.capacity import CapacityRange
from driver.core.ids import InlineHandle, VolumeId
from driver.volumes import locks
from driver.volumes.locks import Locks, WorkerGroup
from driver.volumes.requests import Capability, CreateVolume


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The request to make a volume usable at its staging path (NodeStageVolume). `staging`: the
    staging path; `secret`: the passphrase of an encrypted volume, else None.
    """

    volume_id: VolumeId
    staging: Path
    capability: Capability
    secret: bytes | None = field(default=None, repr=False)

    @property
    def locks(self) -> Locks:
        return locks.lock_with_path(self.volume_id, self.staging)


@dataclass(frozen=True, slots=True)
class Unstage:
    """The request to unmount a volume from its staging path and detach it (NodeUnstageVolume)."""

    volume_id: VolumeId
    staging: Path

    @property
    def locks(self) -> Locks:
        return locks.lock_with_path(self.volume_id, self.staging, WorkerGroup.UNMOUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePublish:
    """The request to mount a persistent volume at a pod's target path (NodePublishVolume).
    `staging`: the path at which it is staged; `read_only`: the pod must not write.
    """

    volume_id: VolumeId
    staging: Path
    target: Path
    read_only: bool
    capability: Capability

    @property
    def as_stage(self) -> Stage:
        """Return the NodeStageVolume request, without a secret, that must have preceded this
        one.
        """
        return Stage(volume_id=self.volume_id, staging=self.staging, capability=self.capability)

    @property
    def locks(self) -> Locks:
        return locks.lock_with_path(self.volume_id, self.target)


@dataclass(frozen=True, slots=True)
class NodeUnpublish:
    """The request to unmount a persistent volume from a pod's target path (NodeUnpublishVolume)."""

    volume_id: VolumeId
    target: Path

    @property
    def locks(self) -> Locks:
        return locks.lock_with_path(self.volume_id, self.target, WorkerGroup.UNMOUNT)


@dataclass(frozen=True, slots=True)
class InlinePublish:
    """The request to create a CSI ephemeral (inline) volume and mount it at a pod's target path
    (NodePublishVolume). `create`: the volume to be created.
    """

    create: CreateVolume
    target: Path
    capability: Capability

    @property
    def locks(self) -> Locks:
        keys = frozenset({self.create.key, f"path:{self.target}"})
        return replace(self.create.locks, exclusive=keys, workers=WorkerGroup.POD)


@dataclass(frozen=True, slots=True)
class InlineUnpublish:
    """The request to unmount a CSI ephemeral (inline) volume from its target path and delete it
    (NodeUnpublishVolume).

    `handle`: the volume id that kubelet generated. `placed`: the name of the volume's pool;
    None: not known.
    """

    handle: InlineHandle
    target: Path
    placed: str | None = None

    @property
    def locks(self) -> Locks:
        keys = frozenset({self.handle.key, f"path:{self.target}"})
        return Locks(keys, named=self.placed, workers=WorkerGroup.UNMOUNT)


@dataclass(frozen=True, slots=True)
class InlineStats:
    """The request for the usage or the health of a CSI ephemeral (inline) volume
    (NodeGetVolumeStats, NodeGetVolumeHealth).

    `handle`: the volume id that kubelet generated. `path`: the target path, to be checked too;
    None: no path. `placed`: the name of the volume's pool; None: not known.
    """

    handle: InlineHandle
    path: Path | None
    placed: str | None = None

    @property
    def locks(self) -> Locks:
        return Locks(named=self.placed, workers=WorkerGroup.POD)


@dataclass(frozen=True, slots=True)
class NodeExpand:
    """The request to grow a volume's filesystem to the size of its device (NodeExpandVolume).

    `path`: where the volume is published or staged; `range`: the requested size; `secret`: the
    passphrase of an encrypted volume, else None.
    """

    volume_id: VolumeId
    path: Path
    range: CapacityRange
    capability: Capability | None = None
    secret: bytes | None = field(default=None, repr=False)

    @property
    def locks(self) -> Locks:
        return locks.lock_exclusively(self.volume_id, workers=WorkerGroup.POD)


@dataclass(frozen=True, slots=True)
class GetVolumeStats:
    """The request for the usage or the health of a volume (NodeGetVolumeStats,
    NodeGetVolumeHealth). `path`: where the volume is published or staged; `staging`: its
    staging path. Each is None if the request does not name it.
    """

    volume_id: VolumeId
    path: Path | None
    staging: Path | None = None

    @property
    def locks(self) -> Locks:
        return locks.lock_nothing(self.volume_id, workers=WorkerGroup.POD)
