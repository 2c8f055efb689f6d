"""The columns of the tables of pools, volumes and snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from driver.cli.output import Column, Row, human, short


def _shortened(reference: str) -> str:
    kind, _, image_id = reference.partition(" ")
    return f"{kind} {short(image_id)}" if image_id else reference


def _name_cell(row: Row) -> str:
    """Return the volume's name; of an inline volume shortened, as kubelet's name for it is long."""
    return short(row["name"]) if row["inline"] else row["name"] or "?"


def object_cell(namespace: str, name: str) -> str:
    """Return the text `namespace`/`name` of the claim (or VolumeSnapshot, or pod of an inline
    volume) for which an image was created.
    """
    return f"{namespace}/{name}" if name else "-"


def _limits_cell(limits: Mapping[str, int]) -> str:
    """Return the IO limits per second, those in bytes with a unit."""
    texts = (
        f"{key} {human(value) if key.endswith('Bps') else value}"
        for key, value in sorted(limits.items())
    )
    return ", ".join(texts) or "-"


def _if_available(cell: Callable[[Row], str]) -> Callable[[Row], str]:
    """Return a cell that is "-" for a pool that is unavailable, of which nothing is known."""
    return lambda row: "-" if row["away"] else cell(row)


def _io(row: Row) -> str:
    if row["type"] == "memory":
        return "-"
    return "yes" if row["direct_io"] else "no (page cache)"


POOLS: Final = (
    Column("pool", lambda row: row["name"]),
    Column(
        "state",
        lambda row: "unavailable" if row["away"] else "ok",
        alarm=lambda row: bool(row["away"]),
    ),
    Column("id", lambda row: row["id"] or "-"),
    Column("allocation", lambda row: row["allocation"]),
    Column("reflink", _if_available(lambda row: "yes" if row["reflink"] else "no (copies)")),
    Column("direct I/O", _if_available(_io)),
    Column("volumes", _if_available(lambda row: str(row["volumes"])), number=True),
    Column("snapshots", _if_available(lambda row: str(row["snapshots"])), number=True),
    Column("size", _if_available(lambda row: human(row["size_bytes"])), number=True),
    Column("committed", _if_available(lambda row: human(row["committed_bytes"])), number=True),
    Column("free", _if_available(lambda row: human(row["largest_bytes"])), number=True),
    Column(
        "being freed",
        _if_available(lambda row: human(row["freeing_bytes"])),
        number=True,
        wide=True,
    ),
    Column("node", lambda row: row["node"] or "-", wide=True),
    Column("location", lambda row: f"{row['type']}:{row['where']}"),
)
VOLUMES: Final = (
    Column("volume", lambda row: row["id"]),
    Column("name", _name_cell),
    Column("claim", lambda row: object_cell(row["namespace"], row["claim"])),
    Column("pool", lambda row: row["pool"]),
    Column("size", lambda row: human(row["size_bytes"]), number=True),
    Column("contents", lambda row: row["filesystem"] or "block"),
    Column("allocation", lambda row: row["allocation"] or "?"),
    Column(
        "source",
        lambda row: "inline, of a pod" if row["inline"] else _shortened(row["source"]) or "-",
    ),
    Column("created", lambda row: row["created"] or "?", wide=True),
    Column("block size", lambda row: str(row["block_size"] or "?"), number=True, wide=True),
    Column("limits", lambda row: _limits_cell(row["limits"]), wide=True),
    Column("held", lambda row: "yes" if row["held"] else "-", wide=True),
    Column("attached to", lambda row: ", ".join(row["nodes"]) or "-"),
    Column(
        "condition",
        lambda row: row["condition"] if row["abnormal"] else "ok",
        alarm=lambda row: bool(row["abnormal"]),
    ),
)
SNAPSHOTS: Final = (
    Column("snapshot", lambda row: row["id"]),
    Column("name", lambda row: row["name"] or "?"),
    Column("volumesnapshot", lambda row: object_cell(row["namespace"], row["volume_snapshot"])),
    Column("pool", lambda row: row["pool"], wide=True),
    Column("source volume", lambda row: short(row["source"])),
    Column("size", lambda row: human(row["size_bytes"]), number=True),
    Column("contents", lambda row: row["filesystem"] or "block"),
    Column("created", lambda row: row["created"]),
    Column("ready", lambda row: "yes" if row["ready"] else "not yet"),
    Column("group", lambda row: row["group"][:8] or "-"),
)
