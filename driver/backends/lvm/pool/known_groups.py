"""Records which volume group and thin pool this node has used under each name.

A name proves nothing: a tenant, a disk of another machine, or a new `vgcreate` may use the same
one. So when a pool is first opened, LVM's UUIDs of it are recorded under its name.
"""

from __future__ import annotations

from collections.abc import Iterable

from driver.core.errors import Failed
from driver.core.ports.records import Records

_GROUP = "group"
_POOL = "thinPool"
_DEVICES = "devices"
_BETWEEN = "\n"  # paths; none has a newline


class KnownGroups:
    """Records on this node which UUIDs the volume group and thin pool at each location had. A
    location is GROUP or GROUP/POOL.

    Also records the blank disks that the driver itself has added to each group.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def group_uuid(self, location: str) -> str:
        """Return the UUID of the volume group recorded for `location`; "" if none is recorded."""
        return self._recorded(location)[0]

    def differs(self, location: str, group: str, pool: str) -> bool:
        """Return whether UUIDs other than `group` and `pool` are recorded for `location`; False if
        none are.

        `group`: the UUID of a volume group. `pool`: that of a thin pool, or "".
        """
        return self._recorded(location) not in {("", ""), (group, pool)}

    def record(self, location: str, group: str, pool: str) -> None:
        """Record the UUIDs of the volume group and of the thin pool ("" if none) at `location`."""
        if self._recorded(location) != (group, pool):
            self._records.write(f"lvm:{location}", {_GROUP: group, _POOL: pool})

    def devices(self, group: str) -> tuple[str, ...]:
        """Return the paths of the disks that the driver has added to the volume group `group`."""
        record = self._records.get(f"lvm-disks:{group}") or {}
        return tuple(filter(None, record.get(_DEVICES, "").split(_BETWEEN)))

    def add_devices(self, group: str, paths: Iterable[str]) -> None:
        """Record, before they are written to, that the disks with these paths are added to the
        volume group `group`.

        Raises: Failed if the record cannot be stored durably: after a restart the volume group
        would lack a disk.
        """
        devices = dict.fromkeys((*self.devices(group), *paths))
        self._records.write(f"lvm-disks:{group}", {_DEVICES: _BETWEEN.join(devices)})
        if problem := self._records.problem:
            raise Failed(f"it cannot be recorded which disks volume group {group} has: {problem}")

    def _recorded(self, location: str) -> tuple[str, str]:
        record = self._records.get(f"lvm:{location}") or {}
        return record.get(_GROUP, ""), record.get(_POOL, "")
