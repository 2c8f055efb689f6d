"""Selects and sorts the rows of a list."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from driver.cli.output import Row


class SortKey(StrEnum):
    """The columns by which a list of volumes can be sorted."""

    NAME = "name"
    CLAIM = "claim"
    POOL = "pool"
    SIZE = "size"
    CREATED = "created"
    CONDITION = "condition"


PoolName = Annotated[str, typer.Option("--pool", metavar="NAME", help="Only those in this pool.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="Only those of this namespace.")
]
Unhealthy = Annotated[bool, typer.Option("--unhealthy", help="Only those that are not healthy.")]
OnlyOrphans = Annotated[
    bool,
    typer.Option(
        "--orphans", help="Only those that no PersistentVolume names, as a router has found them."
    ),
]
Sort = Annotated[
    SortKey | None,
    typer.Option(help="Sort: the largest, newest and unhealthy first. Else in the order of ids."),
]

_KEYS: Final[dict[SortKey, Callable[[Row], Any]]] = {
    SortKey.NAME: lambda row: row["name"],
    SortKey.CLAIM: lambda row: (row["namespace"], row["claim"]),
    SortKey.POOL: lambda row: row["pool"],
    SortKey.SIZE: lambda row: row["size_bytes"],
    SortKey.CREATED: lambda row: row["created"],
    SortKey.CONDITION: lambda row: row["abnormal"],
}
_DESCENDING: Final = frozenset({SortKey.SIZE, SortKey.CREATED, SortKey.CONDITION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows of a list are printed, and in which order. `pool`, `namespace`: "": any;
    `unhealthy`: only volumes with faults; `ids`: only these volumes, None: all; `sort`: None: as
    they arrive.
    """

    pool: str = ""
    namespace: str = ""
    unhealthy: bool = False
    ids: Container[str] | None = None
    sort: SortKey | None = None

    def apply(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Return the selected rows: as they arrive or, if they are to be sorted, when all have
        arrived.
        """
        selected = (row for row in rows if self._has(row))
        if self.sort is None:
            return selected
        return iter(sorted(selected, key=_KEYS[self.sort], reverse=self.sort in _DESCENDING))

    def _has(self, row: Row) -> bool:
        return (
            self.pool in {"", row["pool"]}
            and self.namespace in {"", row["namespace"]}
            and (not self.unhealthy or bool(row["abnormal"]))
            and (self.ids is None or row["id"] in self.ids)
        )
