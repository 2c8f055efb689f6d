"""Which volume group, and which thin pool in it, a place was known to be.

A name says nothing: a tenant, a disk of another machine, or a new `vgcreate` may bring the same.
So the first that was adopted there is pinned: what is known are UUIDs of LVM.
"""

from __future__ import annotations

from driver.core.ports.records import Records

_GROUP = "group"
_POOL = "thinPool"


class Pins:
    """The UUIDs recorded on this node for each place, which is GROUP or GROUP/POOL."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def group_of(self, where: str) -> str:
        """Return the UUID of the volume group recorded for `where`; "" if there is none."""
        return self._known(where)[0]

    def is_another(self, where: str, group: str, pool: str) -> bool:
        """Return whether other UUIDs are recorded for `where`; False if none are.

        `group`: the UUID of a volume group. `pool`: that of a thin pool, or "".
        """
        return self._known(where) not in {("", ""), (group, pool)}

    def write(self, where: str, group: str, pool: str) -> None:
        """Record the UUIDs of the volume group and of the thin pool ("" if none) at `where`."""
        if self._known(where) != (group, pool):
            self._records.write(f"lvm:{where}", {_GROUP: group, _POOL: pool})

    def _known(self, where: str) -> tuple[str, str]:
        record = self._records.get(f"lvm:{where}") or {}
        return record.get(_GROUP, ""), record.get(_POOL, "")
