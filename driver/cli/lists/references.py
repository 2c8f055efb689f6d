"""Finds the volume that a person names: by id, the beginning of an id, a name, or a claim."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from driver.cli.output import Row

FULL_ID: Final = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}\Z")
_NAMED: Final = 5  # of several volumes that match


def find_volume(reference: str, rows: Iterable[Row]) -> Row:
    """Return the only volume of `rows` that `reference` names.

    `reference`: NAMESPACE/CLAIM, the name of a PersistentVolume, an id or its beginning. Raises:
    LookupError: there is no such volume, or there are several.
    """
    matching = [row for row in rows if _matches(reference, row)]
    exact = [row for row in matching if reference in {row["id"], row["name"]}]
    matching = exact or matching
    if not matching:
        raise LookupError(
            f"no volume {reference!r}: give an id or its beginning, the name of a"
            " PersistentVolume, or NAMESPACE/CLAIM; `cellar volumes` lists all"
        )
    if len(matching) > 1:
        names = ", ".join(row["id"] for row in matching[:_NAMED])
        more = ", ..." if len(matching) > _NAMED else ""
        raise LookupError(f"{reference!r} may be any of {len(matching)} volumes: {names}{more}")
    return matching[0]


def _matches(reference: str, row: Row) -> bool:
    if "/" in reference:
        return bool(reference == f"{row['namespace']}/{row['claim']}")
    names = {row["name"], row["persistent_volume"]}
    return reference in names or bool(row["id"].startswith(reference))
