"""`cellar top`: shows the busiest volumes and the calls of a running driver."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Annotated, Final

import typer

from csi_proto import inspect_pb2
from driver.cli.client import Client
from driver.cli.connection import Endpoint, connected
from driver.cli.lists.columns import object_cell
from driver.cli.output import Column, Output, Row, format_rows, has_colours, human

Interval = Annotated[
    float, typer.Option(min=0.5, help="Seconds between two updates, over which rates are measured.")
]
Times = Annotated[int, typer.Option(min=0, help="End after this many updates; 0: at Ctrl-C.")]
Count = Annotated[int, typer.Option("--count", min=1, help="The number of volumes to print.")]

_CALLS: Final = 200  # that a driver keeps
_CLEAR: Final = "\x1b[H\x1b[2J"

Io = Mapping[str, inspect_pb2.VolumeIo]


def command(
    *, endpoint: Endpoint = "", interval: Interval = 2, times: Times = 0, most: Count = 20
) -> None:
    """Show the staged volumes that read and write most, and the last calls by their name.

    On a terminal the screen is drawn again, else the tables follow one another.
    """
    with connected(endpoint) as client:
        before = read_io(client)
        for number in count(1):
            time.sleep(interval)
            after = read_io(client)
            _print(client, io_rows(before, after)[:most])
            if number == times:
                return
            before = after


def read_io(client: Client) -> Io:
    """Return the IO counters of all staged volumes by the volume's id. Raises: CallFailed."""
    answer = client.call(client.inspection.ListIo, inspect_pb2.ListIoRequest())
    return {f"{volume.volume_id}@{volume.node}": volume for volume in answer.volumes}


def io_rows(before: Io, after: Io) -> list[Row]:
    """Return a row for each volume with its IO rates between two readings of the counters, the
    busiest volume first.
    """
    rows = [
        _rates(before[key], volume)
        for key, volume in after.items()
        if key in before and volume.clock > before[key].clock
    ]
    return sorted(rows, key=lambda row: (row["busy"], row["reads"] + row["writes"]), reverse=True)


def _rates(old: inspect_pb2.VolumeIo, new: inspect_pb2.VolumeIo) -> Row:
    """Return the rates per second. A device that was attached again since the last reading began at
    0.
    """
    seconds = new.clock - old.clock
    requests = max(0, new.reads + new.writes - old.reads - old.writes)
    waited = max(0.0, new.read_seconds + new.write_seconds - old.read_seconds - old.write_seconds)
    return {
        "id": new.volume_id,
        "node": new.node,
        "reads": max(0, new.reads - old.reads) / seconds,
        "writes": max(0, new.writes - old.writes) / seconds,
        "read_bytes": max(0, new.read_bytes - old.read_bytes) / seconds,
        "written_bytes": max(0, new.written_bytes - old.written_bytes) / seconds,
        "latency": waited / requests if requests else 0.0,
        "in_flight": new.in_flight,
        "busy": min(1.0, max(0.0, new.busy_seconds - old.busy_seconds) / seconds),
    }


def call_rows(calls: Iterable[inspect_pb2.Call]) -> list[Row]:
    """Return a row for each RPC, by its name: the number of its calls, the number of those that
    failed, and the mean and the longest duration.
    """
    by_name: dict[str, list[inspect_pb2.Call]] = {}
    for call in calls:
        by_name.setdefault(call.rpc, []).append(call)
    rows = [
        {
            "rpc": rpc,
            "count": len(rpc_calls),
            "failed": sum(call.code != "OK" for call in rpc_calls),
            "mean": sum(call.seconds for call in rpc_calls) / len(rpc_calls),
            "longest": max(call.seconds for call in rpc_calls),
        }
        for rpc, rpc_calls in by_name.items()
    ]
    return sorted(rows, key=lambda row: row["longest"], reverse=True)


def _print(client: Client, rows: list[Row]) -> None:
    records = client.describe(volume_ids=[row["id"] for row in rows])
    for row in rows:
        record = records.get(row["id"])
        claim = object_cell(record.namespace, record.claim) if record else "-"
        row["claim"] = claim if claim != "-" or not record else record.name
    past = inspect_pb2.FollowCallsRequest(past=_CALLS, past_only=True)
    lines = [*_tables(rows, call_rows(client.calls(past)))]
    if sys.stdout.isatty():
        sys.stdout.write(_CLEAR)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _tables(volumes: list[Row], calls: list[Row]) -> Iterator[str]:
    colours = has_colours(sys.stdout)
    yield from format_rows(Output.TABLE, IO, volumes, colours=colours)
    yield ""
    yield from format_rows(Output.TABLE, CALLS, calls, colours=colours)


IO: Final = (
    Column("volume", lambda row: row["claim"]),
    Column("node", lambda row: row["node"]),
    Column(
        "busy", lambda row: f"{row['busy']:.0%}", number=True, alarm=lambda row: row["busy"] > 0.95
    ),
    Column("reads/s", lambda row: f"{row['reads']:.0f}", number=True),
    Column("writes/s", lambda row: f"{row['writes']:.0f}", number=True),
    Column("read/s", lambda row: human(round(row["read_bytes"])), number=True),
    Column("written/s", lambda row: human(round(row["written_bytes"])), number=True),
    Column("latency", lambda row: f"{1000 * row['latency']:.1f} ms", number=True),
    Column("in flight", lambda row: str(row["in_flight"]), number=True),
    Column("id", lambda row: row["id"]),
)
CALLS: Final = (
    Column("call", lambda row: row["rpc"]),
    Column("count", lambda row: str(row["count"]), number=True),
    Column(
        "failed", lambda row: str(row["failed"]), number=True, alarm=lambda row: bool(row["failed"])
    ),
    Column("mean", lambda row: f"{1000 * row['mean']:.1f} ms", number=True),
    Column("longest", lambda row: f"{1000 * row['longest']:.1f} ms", number=True),
)
