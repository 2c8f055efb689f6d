"""Finds out which mounts belong to a volume and who else uses it, and unmounts them.

A mount that this driver recorded belongs to the volume in the record, whatever the kernel reports
about its device. For other mounts the kernel decides: by the device number, or by the image to
which the device is attached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.devices import Device, MountPoint
from driver.core.errors import Failed, Refused
from driver.core.faults import Fault, FaultKind, Severity
from driver.core.ids import VolumeId
from driver.core.model import Volume
from driver.core.ports.host import Host
from driver.volumes.node.mount_records import MountRecord, MountRecords

_LAYERS: Final = 1000  # that are taken down at most


def is_own_mount(
    host: Host,
    record: MountRecord | None,
    mount: MountPoint,
    device: Device | None,
    volume_id: VolumeId,
) -> bool:
    """Return whether `mount` is a mount of the volume `volume_id`.

    `record`: the driver's record of the path at which `mount` was found, None: there is none.
    `device`: the volume's device, if known.
    """
    if record and record.matches(mount):
        return record.volume == str(volume_id)
    by_number = device is not None and mount.number == device.number
    return by_number or host.volume_label(mount) == str(volume_id)


@dataclass(frozen=True, slots=True)
class Users:
    """The mounts and stagings of a volume other than its staging at one given path.

    `targets`: pods' paths that must be unmounted before the given path. `stagings`: other staging
    paths, and targets published from those, which also need the volume's device.
    """

    targets: Sequence[Path]
    stagings: Sequence[Path]

    def refuse_targets(self, volume_id: VolumeId) -> None:
        """Raise Refused if the volume is still mounted at targets, which must be unpublished
        first.
        """
        if self.targets:
            targets = ", ".join(map(str, self.targets))
            raise Refused(
                f"volume {volume_id} is still mounted at {targets}: unmount it there first"
            )


@dataclass(frozen=True, slots=True)
class VolumeMounts:
    """The mounts of one volume on its node. `device`: the volume's device, if known."""

    host: Host
    records: MountRecords
    device: Device | None
    volume_id: VolumeId

    def unmount(self, path: Path, mount: MountPoint | None, *, is_last: bool = False) -> bool:
        """Unmount all layers at `path` that belong to the volume. Returns False if nothing was
        mounted there.

        A frozen filesystem is thawed before its last mount is removed, because it could not be
        thawed afterwards. `mount`: the topmost mount at `path`, as just returned by
        `Host.mounted_at`. `is_last`: the caller knows that the volume is mounted nowhere else.

        Raises: Refused, and nothing was changed: the topmost mount is not the volume's; Failed:
        still mounted after 1000 unmounts.
        """
        record = self.records.at(path)
        for layer in range(_LAYERS):
            if layer:
                mount = self.host.mounted_at(path)
            if mount is None:
                return layer > 0
            if not is_own_mount(self.host, record, mount, self.device, self.volume_id):
                if layer:
                    return True  # somebody else's was below it
                raise Refused(
                    f"{path} is not a mount of volume {self.volume_id}; nothing was changed"
                )
            if not mount.node and (is_last or self._is_last(path, mount)):
                self.host.thaw(path)
            self.host.unmount_top(path)
        raise Failed(f"{path} is still a mount point after {_LAYERS} unmounts")

    def users(self, staging: Path, mount: MountPoint | None) -> Users:
        """Return where the volume is in use, other than at the staging path `staging`. If this
        object's `device` is None, only recorded mounts are found.

        `mount`: the topmost mount at `staging`; None: nothing is mounted there.
        """
        host = self.host
        recorded = self._recorded_beside(staging)
        mounted = {record.path: _mount_point(host, record) for record in recorded}
        stagings = [
            record.path
            for record in recorded
            if record.staging != staging and _is_in_use(record, mounted)
        ]
        targets = [
            record.path for record in recorded if record.staging == staging and mounted[record.path]
        ]
        known = {path for path in mounted.values() if path}
        if mount:
            known.add(mount.target)
        mounts = host.mount_points(self.device) if self.device else ()
        targets += [each.target for each in mounts if each.target not in known]
        return Users(targets, stagings)

    def _is_last(self, path: Path, mount: MountPoint) -> bool:
        """Return whether the filesystem of `mount`, the mount at `path`, is mounted at most once.

        The kernel reports it, so it works without the pool; recorded mounts at other paths are
        checked first, so that all mounts seldom have to be read.
        """
        recorded = (self.host.mounted_at(record.path) for record in self._recorded_beside(path))
        if any(other and _is_beside(other, mount) for other in recorded):
            return False
        device = Device(Path(), mount.number, read_only=False)
        return sum(not other.node for other in self.host.mount_points(device)) <= 1

    def _recorded_beside(self, path: Path) -> Sequence[MountRecord]:
        """Return the records of the volume's mounts at other paths."""
        records = self.records.find_by_volume(self.volume_id)
        return [record for record in records if record.path != path]


def find_swapped(
    host: Host, records: MountRecords, volume: Volume, device: Device | None
) -> Sequence[Fault]:
    """Return a fault for each path at which a pod of a raw block volume has a device node whose
    device is not the volume's any more, e.g. since the volume was attached again.

    `device`: the volume's device; None: it is not attached. A volume with a filesystem has no such
    fault.
    """
    if volume.fs is not None:
        return ()
    return tuple(
        Fault(FaultKind.DEVICE_SWAPPED, f"{swapped_text(record, volume.id)}", Severity.INACCESSIBLE)
        for record in records.find_by_volume(volume.id)
        if record.node
        and (device is None or record.number != device.number)
        and _mount_point(host, record)
    )


def swapped_text(record: MountRecord, volume_id: VolumeId) -> str:
    """Return the error text which says that the device node at the path of `record` does not belong
    to the volume any more, so that the pod must end.
    """
    return (
        f"{record.path} is the device node {record.device}, which is not bound to volume"
        f" {volume_id} any more: end the pod, so that NodeUnpublishVolume unmounts it"
    )


def _mount_point(host: Host, record: MountRecord) -> Path | None:
    """Return the path of the recorded mount as the kernel calls it; None: it is not mounted."""
    mount = host.mounted_at(record.path)
    return mount.target if mount and record.matches(mount) else None


def _is_in_use(record: MountRecord, mounted: dict[Path, Path | None]) -> bool:
    """Return whether the record's path is in use. Nothing is mounted where a raw block volume is
    staged, so there it is whether the directory exists.
    """
    nothing_mounted = record.is_staging and record.node
    return record.path.is_dir() if nothing_mounted else mounted[record.path] is not None


def _is_beside(other: MountPoint, mount: MountPoint) -> bool:
    """Return whether `other` is a mount of the same filesystem as `mount` at another path."""
    is_same = other.number == mount.number and not other.node
    return is_same and other.target != mount.target
