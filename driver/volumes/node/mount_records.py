"""Records each mount before it is made: the path, the volume and its device.

The record is used when the path is to be unmounted and the kernel does not report which volume is
mounted there: the filesystem below is dead, the device is gone, or its number belongs to another
volume now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.devices import Device, MountPoint
from driver.core.ids import VolumeId
from driver.core.ports.records import Records

_TRUE: Final = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRecord:
    """The record of a mount that this driver made at `path`. `volume`: the volume's id. `device`,
    `number`: path and number (dev_t) of the volume's device when it was mounted.

    `node`: True for a raw block volume, whose device node is bound at its targets, while nothing is
    mounted at its staging path; False: a filesystem is mounted at `path`. `staging`: the path at
    which the volume was staged; it equals `path` in the record of that staging.
    """

    path: Path
    volume: str
    device: Path
    number: int
    node: bool
    read_only: bool
    staging: Path

    @property
    def is_staging(self) -> bool:
        return self.path == self.staging

    def matches(self, mount: MountPoint) -> bool:
        """Return whether `mount` is the recorded mount: whether it has the same device number, or
        the same device path if the kernel reports no number any more.
        """
        if mount.number:
            return mount.number == self.number
        return mount.source == str(self.device)


class MountRecords:
    """The records of the mounts that this driver has made on this node, stored in `records`. Each
    is parsed only once, until it is changed.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._parsed: dict[str, tuple[Mapping[str, str], MountRecord | None]] = {}

    def at(self, path: Path) -> MountRecord | None:
        """Return the record of the mount at `path`; None: there is no record, or this version of
        the driver cannot read it.
        """
        key = str(path)
        fields = self._records.get(key)
        return self._parse(key, fields) if fields else None

    def staged(self) -> Mapping[str, tuple[str, int]]:
        """Return the staging path (of an inline volume: the target) and the recorded device number
        of each volume, by the volume's id. Fast enough to be called for lists of volumes.
        """
        staged: dict[str, tuple[str, int]] = {}
        for path, fields in self._records.items().items():
            if fields.get("staging") == path and fields.get("number", "").isdigit():
                staged[fields.get("volume", "")] = path, int(fields["number"])
        return staged

    def find_by_volume(self, volume_id: VolumeId) -> Iterator[MountRecord]:
        """Yield the records of all mounts of a volume."""
        for key, fields in self._records.find("volume", str(volume_id)).items():
            if record := self._parse(key, fields):
                yield record

    def write(self, record: MountRecord) -> None:
        """Write `record`, which replaces an earlier record of the same path."""
        self._records.write(
            str(record.path),
            {
                "volume": record.volume,
                "device": str(record.device),
                "number": str(record.number),
                "node": str(record.node).lower(),
                "read_only": str(record.read_only).lower(),
                "staging": str(record.staging),
            },
        )

    def remove(self, path: Path, volume_id: VolumeId) -> None:
        """Remove the record of `path`; no-op if there is none, or it is of another volume."""
        key = str(path)
        fields = self._records.get(key)
        if fields and fields.get("volume") == str(volume_id):
            self._records.remove(key)
            self._parsed.pop(key, None)

    def _parse(self, key: str, fields: Mapping[str, str]) -> MountRecord | None:
        """Return the record of the path `key`; None: this version cannot read it."""
        known = self._parsed.get(key)
        if known and known[0] is fields:
            return known[1]
        record = _parse(Path(key), fields)
        self._parsed[key] = fields, record
        return record


def mount_record(  # noqa: PLR0913 - the facts of one mount
    path: Path, volume_id: VolumeId, device: Device, *, node: bool, read_only: bool, staging: Path
) -> MountRecord:
    """Return the record of a mount that is about to be made at `path`.

    `device`: the volume's device. `node`: True: its device node is bound; False: its filesystem is
    mounted. `staging`: the staging path of the volume, equal to `path` while it is being staged.
    """
    return MountRecord(
        path=path,
        volume=str(volume_id),
        device=device.path,
        number=device.number,
        node=node,
        read_only=read_only,
        staging=staging,
    )


def _parse(path: Path, fields: Mapping[str, str]) -> MountRecord | None:
    """Return the record; None: this version cannot read it."""
    try:
        return MountRecord(
            path=path,
            volume=fields["volume"],
            device=Path(fields["device"]),
            number=int(fields["number"]),
            node=fields["node"] == _TRUE,
            read_only=fields["read_only"] == _TRUE,
            staging=Path(fields["staging"]),
        )
    except (KeyError, ValueError):
        return None
