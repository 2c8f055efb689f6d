"""`cellar nodes`: lists the nodes of a cluster, according to a router."""

from __future__ import annotations

from typing import Final

from csi_proto import inspect_pb2
from driver.cli.client import Client, explain_unsupported
from driver.cli.connection import Endpoint, Format, connected
from driver.cli.live.watch import Watch, print_or_watch
from driver.cli.output import Column, Output, Row


def command(
    *, endpoint: Endpoint = "", output: Format = Output.TABLE, watch: Watch = False
) -> None:
    """List the nodes of a router: their pools, versions, last reports, and why one is not
    reachable.
    """
    with connected(endpoint) as client:
        print_or_watch(output, NODES, lambda: node_rows(client), watch=watch, name="name")


def node_rows(client: Client) -> list[Row]:
    """Return a row for each node. Raises: CallFailed."""
    with explain_unsupported("this driver is one node; ask a router, as `cellar route` serves it"):
        answer = client.call(client.inspection.ListNodes, inspect_pb2.ListNodesRequest())
    return [_row(node) for node in answer.nodes]


def _row(node: inspect_pb2.NodeEntry) -> Row:
    return {
        "name": node.name,
        "reachable": node.reachable,
        "problem": node.problem,
        "version": node.version,
        "address": node.address,
        "seen_seconds_ago": None if node.report_age < 0 else round(node.report_age),
        "cordoned": node.cordoned,
        "pools": list(node.pools),
        "unavailable_pools": list(node.unavailable_pools),
        "volumes": node.volumes,
    }


def _state(row: Row) -> str:
    state = "ready" if row["reachable"] else "unreachable"
    return f"{state}, cordoned" if row["cordoned"] else state


def _last_seen(row: Row) -> str:
    seconds = row["seen_seconds_ago"]
    return "never" if seconds is None else f"{seconds} s ago"


def _pools(row: Row) -> str:
    unavailable = row["unavailable_pools"]
    return ", ".join(
        f"{name} (unavailable)" if name in unavailable else name for name in row["pools"]
    )


NODES: Final = (
    Column("node", lambda row: row["name"]),
    Column("state", _state, alarm=lambda row: not row["reachable"]),
    Column("version", lambda row: row["version"] or "?"),
    Column("seen", _last_seen),
    Column("address", lambda row: row["address"] or "?", wide=True),
    Column(
        "pools", lambda row: _pools(row) or "-", alarm=lambda row: bool(row["unavailable_pools"])
    ),
    Column("volumes", lambda row: str(row["volumes"]), number=True),
    Column("problem", lambda row: row["problem"] or "-"),
)
