"""`cellar pools`, `volumes` and `snapshots`: what a running driver has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from csi_proto import cellar_pb2 as cellar
from csi_proto import csi_pb2 as csi
from driver.cli.client import Client
from driver.cli.connection import Endpoint, Format, connected, fail
from driver.cli.output import Column, Output, Row, console, human, print_rows, short
from driver.cli.pool_options import ConfigOption, PoolOption, StateDirOption, load_settings
from driver.core.errors import CellarError

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The pool's name, as in --pool or the settings file.")
]


def volumes(endpoint: Endpoint = "", output: Format = Output.TABLE) -> None:
    """List the volumes of a running driver."""
    with connected(endpoint) as client:
        print_rows(output, VOLUMES, _volume_rows(client))


def snapshots(endpoint: Endpoint = "", output: Format = Output.TABLE) -> None:
    """List the snapshots of a running driver."""
    with connected(endpoint) as client:
        print_rows(output, SNAPSHOTS, _snapshot_rows(client))


pools = typer.Typer(help="List the pools of a running driver; `init` marks a new one.")


@pools.callback(invoke_without_command=True)
def pools_by_default(
    context: typer.Context, endpoint: Endpoint = "", output: Format = Output.TABLE
) -> None:
    """List the pools, if no subcommand is given."""
    if context.invoked_subcommand is None:
        list_pools(endpoint, output)


@pools.command("list")
def list_pools(endpoint: Endpoint = "", output: Format = Output.TABLE) -> None:
    """List the pools of a running driver."""
    with connected(endpoint) as client:
        rows = [*_pool_rows(client)]
    print_rows(output, POOLS, rows, name="name")
    if output.is_table:
        for row in rows:
            if row["away"]:
                problem = f"{row['name']} is unavailable: {row['away']}"
                console(stderr=True).print(problem, style="red", soft_wrap=True)


@pools.command("init")
def init_pool(
    name: Name,
    pool: PoolOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Mark the location of a configured pool as a pool of this driver."""
    from driver.cli.initialise import initialise  # noqa: PLC0415 - the backends, for init only

    try:
        location, pool_id = initialise(load_settings(pool, config, state_dir), name)
    except CellarError as error:
        fail(str(error))
    console().print(f"{location} is pool {name} now, with the id {pool_id}", soft_wrap=True)


# --- from protobuf to rows: the keys are those of `-o json`


def _pool_rows(client: Client) -> Iterator[Row]:
    return map(_pool_row, client.pools())


def _pool_row(pool: cellar.Pool) -> Row:
    return {
        "name": pool.name,
        "type": pool.type,
        "where": pool.where,
        "id": pool.id,
        "away": pool.away,
        "allocation": pool.allocation,
        "reflink": pool.reflink,
        "direct_io": pool.direct_io,
        "volumes": pool.volumes,
        "snapshots": pool.snapshots,
        "size_bytes": pool.total_bytes,
        "committed_bytes": pool.committed_bytes,
        "largest_bytes": pool.largest_bytes,
        "node": pool.node,
    }


def _volume_rows(client: Client) -> Iterator[Row]:
    pool_names = {pool.id: pool.name for pool in client.pools()}
    for page in client.volumes():
        records = client.describe(volume_ids=[entry.volume.volume_id for entry in page])
        for entry in page:
            record = records.get(entry.volume.volume_id, cellar.Record())
            yield _volume_row(entry, record, pool_names)


def _volume_row(
    entry: csi.ListVolumesResponse.Entry, record: cellar.Record, pool_names: dict[str, str]
) -> Row:
    volume, status = entry.volume, entry.status
    pool_id = volume.volume_id.partition("-")[0]
    return {
        "id": volume.volume_id,
        "name": record.name,
        "namespace": record.namespace,
        "claim": record.claim,
        "persistent_volume": record.persistent,
        "pool": pool_names.get(pool_id, pool_id),
        "size_bytes": volume.capacity_bytes,
        "filesystem": record.filesystem,
        "allocation": record.allocation,
        "block_size": record.block_size,
        "created": _timestamp(record.created),
        "source": _source(volume.content_source),
        "inline": record.inline,
        "nodes": list(status.published_node_ids),
        "abnormal": status.volume_condition.abnormal,
        "condition": status.volume_condition.message,
    }


def _source(source: csi.VolumeContentSource) -> str:
    match source.WhichOneof("type"):
        case "snapshot":
            return f"snapshot {source.snapshot.snapshot_id}"
        case "volume":
            return f"volume {source.volume.volume_id}"
    return ""


def _snapshot_rows(client: Client) -> Iterator[Row]:
    for page in client.snapshots():
        records = client.describe(snapshot_ids=[snapshot.snapshot_id for snapshot in page])
        for snapshot in page:
            yield _snapshot_row(snapshot, records.get(snapshot.snapshot_id, cellar.Record()))


def _snapshot_row(snapshot: csi.Snapshot, record: cellar.Record) -> Row:
    return {
        "id": snapshot.snapshot_id,
        "name": record.name,
        "namespace": record.namespace,
        "volume_snapshot": record.claim,
        "volume_snapshot_content": record.persistent,
        "source": snapshot.source_volume_id,
        "size_bytes": snapshot.size_bytes,
        "filesystem": record.filesystem,
        "created": _timestamp(snapshot.creation_time.seconds),
        "ready": snapshot.ready_to_use,
        "group": snapshot.group_snapshot_id,
    }


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""


# --- from rows to tables


def _shortened(reference: str) -> str:
    kind, _, image_id = reference.partition(" ")
    return f"{kind} {short(image_id)}" if image_id else reference


def _name_cell(row: Row) -> str:
    """Return the volume's name; of an inline volume shortened, as kubelet's name for it is long."""
    return short(row["name"]) if row["inline"] else row["name"] or "?"


def _object_cell(namespace: str, name: str) -> str:
    """Return the claim (VolumeSnapshot; pod of an inline volume) for which an image was made."""
    return f"{namespace}/{name}" if name else "-"


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
    Column("node", lambda row: row["node"] or "-", wide=True),
    Column("location", lambda row: f"{row['type']}:{row['where']}"),
)
VOLUMES: Final = (
    Column("volume", lambda row: row["id"]),
    Column("name", _name_cell),
    Column("claim", lambda row: _object_cell(row["namespace"], row["claim"])),
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
    Column("volumesnapshot", lambda row: _object_cell(row["namespace"], row["volume_snapshot"])),
    Column("source volume", lambda row: short(row["source"])),
    Column("size", lambda row: human(row["size_bytes"]), number=True),
    Column("contents", lambda row: row["filesystem"] or "block"),
    Column("created", lambda row: row["created"]),
    Column("ready", lambda row: "yes" if row["ready"] else "not yet"),
    Column("group", lambda row: row["group"][:8] or "-"),
)
