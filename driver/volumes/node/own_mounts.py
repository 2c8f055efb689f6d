"""Which mounts are a volume's own, who else still uses it, and how its own are taken down.

A mount that this driver recorded belongs to the volume of the record, whatever its device shows by
now; any other is told by the kernel: the device's number, or the image below it.
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


def is_mount_of(
    host: Host,
    record: MountRecord | None,
    mount: MountPoint,
    device: Device | None,
    volume_id: VolumeId,
) -> bool:
    """Return whether the mount `mount` is the volume's.

    `record`: that of the path at which `mount` was found. `device`: the volume's, if known.
    """
    if record and record.matches(mount):
        return record.volume == str(volume_id)
    by_number = device is not None and mount.number == device.number
    return by_number or host.volume_label(mount) == str(volume_id)


def unmount_own(  # noqa: PLR0913 - who is asked, and what is known
    host: Host,
    records: MountRecords,
    path: Path,
    device: Device | None,
    volume_id: VolumeId,
    *,
    is_last: bool = False,
) -> bool:
    """Unmount all layers at `path` that are the volume's. Returns False if nothing was mounted
    there.

    A frozen filesystem is thawed before its last mount is removed: it would stay frozen, out of
    reach. `is_last`: the volume is known to be mounted nowhere else. `device`: the volume's, if
    known.

    Raises: Refused, and nothing was changed: the topmost mount is not the volume's; Failed:
    still mounted after 1000 unmounts.
    """
    for layer in range(_LAYERS):
        if (mount := host.mounted_at(path)) is None:
            return layer > 0
        if not is_mount_of(host, records.at(path), mount, device, volume_id):
            if layer:
                return True  # somebody else's was below it
            raise Refused(f"{path} shows something else than volume {volume_id}; left as it is")
        if not mount.node and (is_last or _is_last_mount(host, records, mount, volume_id)):
            host.thaw(path)
        host.unmount_top(path)
    raise Failed(f"{path} is still a mount point after {_LAYERS} unmounts")


@dataclass(frozen=True, slots=True)
class Users:
    """What uses a volume beside one staging path.

    `targets`: must be unmounted before that path. `stagings`: other staging paths, or what was
    published from them, which need the device too.
    """

    targets: Sequence[Path]
    stagings: Sequence[Path]

    def refuse_targets(self, volume_id: VolumeId) -> None:
        """Raise Refused if there are targets, from which the volume must be unmounted first."""
        if self.targets:
            targets = ", ".join(map(str, self.targets))
            raise Refused(
                f"volume {volume_id} is still shown at {targets}: take it down there first"
            )


def find_users(
    host: Host, records: MountRecords, device: Device | None, volume_id: VolumeId, staging: Path
) -> Users:
    """Return what uses the volume beside the staging path `staging`. Without `device` (it cannot
    be told), only recorded mounts are found.
    """
    recorded = [record for record in records.of_volume(volume_id) if record.path != staging]
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
    known |= {mount.target for mount in [host.mounted_at(staging)] if mount}
    mounts = host.mount_points(device) if device else ()
    targets += [mount.target for mount in mounts if mount.target not in known]
    return Users(targets, stagings)


def find_swapped(
    host: Host, records: MountRecords, volume: Volume, device: Device | None
) -> Sequence[Fault]:
    """Return a fault for each path at which a pod has a device node that is not bound to the
    volume any more.

    `device`: the volume's; None: it has none.
    """
    if volume.fs is not None:
        return ()
    return tuple(
        Fault(FaultKind.DEVICE_SWAPPED, f"{swapped_text(record, volume.id)}", Severity.INACCESSIBLE)
        for record in records.of_volume(volume.id)
        if record.node
        and (device is None or record.number != device.number)
        and _mount_point(host, record)
    )


def swapped_text(record: MountRecord, volume_id: VolumeId) -> str:
    """Return the text for a path whose device node is not bound to the volume any more."""
    return (
        f"{record.path} shows {record.device}, which is not bound to volume {volume_id} any more:"
        " end the pod, so that NodeUnpublishVolume takes it down"
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


def _is_last_mount(
    host: Host, records: MountRecords, mount: MountPoint, volume_id: VolumeId
) -> bool:
    """Return whether the filesystem is mounted once at most. The kernel tells, so it works without
    the pool; what is recorded is looked at first, so that seldom all mounts are.
    """
    recorded = (host.mounted_at(record.path) for record in records.of_volume(volume_id))
    if any(other and _is_beside(other, mount) for other in recorded):
        return False
    device = Device(Path(), mount.number, read_only=False)
    return sum(not other.node for other in host.mount_points(device)) <= 1


def _is_beside(other: MountPoint, mount: MountPoint) -> bool:
    """Return whether `other` shows the same filesystem as `mount` at another path."""
    is_same = other.number == mount.number and not other.node
    return is_same and other.target != mount.target
