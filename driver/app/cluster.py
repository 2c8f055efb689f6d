"""The nodes of the cluster that `cellar route` serves, and the router's own identity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from driver.core.errors import Invalid
from driver.router.forwarding import Unary
from driver.router.nodes.directory import (
    Abandon,
    Directory,
    RecordEvent,
    RecordReported,
    StaticFile,
    abandon_nothing,
    no_events,
    no_reported_events,
)
from driver.router.nodes.pool_locations import PoolLocations
from driver.router.nodes.registry import Nodes
from driver.tls.identity import Files, Identities

Survey: TypeAlias = Callable[[Nodes], Awaitable[None]]


def no_problem() -> str | None:
    """Return None, which means that the cluster has no problem: a cluster from a file
    cannot fail.
    """
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The objects by which a router knows and serves its cluster. `directory`: lists the nodes;
    `identities`: provides the router's TLS certificate; `abandon`: returns whether a volume whose
    node is gone may be lost; `record_event`, `record_reported`: record Events; `locations`: the
    node that last had each pool.

    `problem`: returns why the router cannot work; None: it can. `background`, `surveys`: coroutines
    to run until they are cancelled; surveys are called with the connections to the nodes. `routes`:
    RPCs that only this kind of cluster serves.
    """

    directory: Directory
    identities: Identities
    abandon: Abandon = abandon_nothing
    record_event: RecordEvent = no_events
    record_reported: RecordReported = no_reported_events
    problem: Callable[[], str | None] = no_problem
    locations: PoolLocations = field(default_factory=PoolLocations)
    background: Sequence[Awaitable[None]] = ()
    surveys: Sequence[Survey] = ()
    routes: Mapping[str, Unary] = field(default_factory=dict)


def static_cluster(file: Path, tls_dir: Path | None) -> Cluster:
    """Return the cluster whose nodes are listed in `file`. Raises: Invalid: it cannot be read."""
    directory = StaticFile(file)
    directory.read()  # Invalid now, rather than a router without nodes
    if not tls_dir:
        raise Invalid("--tls-dir is required with --nodes static:FILE")
    return Cluster(directory=directory, identities=Files(tls_dir))
