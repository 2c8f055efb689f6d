"""The faults of volumes and pools that health calls report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from driver.core.errors import PoolFailed, PoolReadOnly, PoolUnavailable


class FaultKind(StrEnum):
    """The kind of a fault, as a constant word for programs: the reason in CSI's health responses.
    The words never change, because users rely on them.
    """

    # pools
    POOL_AWAY = "PoolAway"  # unavailable, for whatever reason but the next two
    POOL_FAILED = "PoolFailed"
    POOL_READ_ONLY = "PoolReadOnly"
    POOL_FULL = "PoolFull"
    POOL_NEARLY_FULL = "PoolNearlyFull"
    METADATA_FULL = "MetadataFull"  # of a volume group
    THIN_POOL_NEARLY_FULL = "ThinPoolNearlyFull"
    THIN_POOL_QUEUES = "ThinPoolQueues"  # writers hang when it is full
    THICK_NOT_POSSIBLE = "ThickNotPossible"
    LEFTOVER_STAYS = "LeftoverStays"  # something deleted cannot be removed
    SAME_NAME_TWICE = "SameNameTwice"
    # images
    RECORD_DAMAGED = "RecordDamaged"
    BACKING_FILE_GONE = "BackingFileGone"
    BACKING_FILE_SHORT = "BackingFileShort"
    BACKING_VOLUME_GONE = "BackingVolumeGone"
    IMAGE_LONGER_THAN_RECORD = "ImageLongerThanRecord"
    THICK_IMAGE_COPIES_ON_WRITE = "ThickImageCopiesOnWrite"
    THICK_IMAGE_HAS_HOLES = "ThickImageHasHoles"
    VOLUME_UNHEALTHY = "VolumeUnhealthy"  # LVM's word for a logical volume
    # devices and mounts
    DEVICE_ALTERED = "DeviceAltered"
    DEVICE_SWAPPED = "DeviceSwapped"
    FOREIGN_MOUNT = "ForeignMount"
    FILESYSTEM_ERRORS = "FilesystemErrors"
    FILESYSTEM_NOT_GROWN = "FilesystemNotGrown"
    FILESYSTEM_SHUT_DOWN = "FilesystemShutDown"
    IO_LIMITS_NOT_SET = "IoLimitsNotSet"
    REMOUNTED_READ_ONLY = "RemountedReadOnly"


class Severity(StrEnum):
    """The severity of a fault, as in CSI's health status."""

    DEGRADED = "degraded"
    INACCESSIBLE = "inaccessible"
    DATA_LOSS = "data_loss"


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect of a volume or a pool: its kind, a `text` that describes it to people, and its
    severity.
    """

    kind: FaultKind
    text: str
    severity: Severity = Severity.DEGRADED


def unavailability_fault(error: PoolUnavailable) -> Fault:
    """Return the fault of a pool that raised `error`, which is also the fault of each image in
    that pool.

    The kind of the fault is PoolReadOnly or PoolFailed if `error` is of that class, else
    PoolAway.
    """
    if isinstance(error, PoolReadOnly):
        return Fault(FaultKind.POOL_READ_ONLY, str(error))
    kind = FaultKind.POOL_FAILED if isinstance(error, PoolFailed) else FaultKind.POOL_AWAY
    return Fault(kind, str(error), Severity.INACCESSIBLE)
