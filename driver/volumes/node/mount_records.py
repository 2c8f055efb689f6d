"""Records what this driver mounts where, before it does.

Used when a path is to be unmounted and the kernel does not report any more what it shows: the
filesystem below is dead, the device is gone, or its number is another volume's by now.
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
    """What was mounted at one path. `device` and `number` (dev_t) are those that the volume had
    then.

    `node`: True if a device node is bound there; at the staging path of a raw block volume
    nothing is mounted. `staging`: of a target, the staging path from which it was published; of
    a staging path, that path itself.
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
        """Return whether `mount` is this mount, by device number, or by the device's path if the
        kernel does not tell a number any more.
        """
        if mount.number:
            return mount.number == self.number
        return mount.source == str(self.device)


class MountRecords:
    """The mounts that this driver has made, stored in `records`.

    A record is parsed once: `records` returns the same mapping until it is written again.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._parsed: dict[str, tuple[Mapping[str, str], MountRecord | None]] = {}

    def at(self, path: Path) -> MountRecord | None:
        """Return the record of a path; None: nothing is recorded that this version can read."""
        key = str(path)
        fields = self._records.get(key)
        return self._parse(key, fields) if fields else None

    def staged(self) -> Mapping[str, tuple[str, int]]:
        """Return where each volume is staged (an inline volume: mounted), and its device's number
        then, by the volume's id. Fast: it is for all volumes at once.
        """
        staged: dict[str, tuple[str, int]] = {}
        for path, fields in self._records.items().items():
            if fields.get("staging") == path and fields.get("number", "").isdigit():
                staged[fields.get("volume", "")] = path, int(fields["number"])
        return staged

    def find_by_volume(self, volume_id: VolumeId) -> Iterator[MountRecord]:
        """Yield all records of a volume."""
        for key, fields in self._records.find("volume", str(volume_id)).items():
            if record := self._parse(key, fields):
                yield record

    def write(self, record: MountRecord) -> None:
        """Write the record of a path, in place of an earlier one."""
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
        """Remove the record of a path; no-op if it has none, or that of another volume."""
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
    """Return the record of a mount that is to be made; see MountRecord."""
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
