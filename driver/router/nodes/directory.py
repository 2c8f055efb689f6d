"""The list of the cluster's nodes: the port, its implementation by a file, the states of a node."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import Invalid, PoolUnavailable

NodeName: TypeAlias = str

POLL_INTERVAL: Final = 1.0  # seconds; inotify misses a file that a mount replaces
EXAMPLE: Final = "nodes: [{name: a, address: 127.0.0.1:9501}]"
CURE: Final = (
    "bring the node or its disk back; or, if the data may be lost, start the router with"
    " --node-gone-policy=forget"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the cluster. `address`: HOST:PORT; None: the node exists, but cannot be reached
    now.
    """

    name: NodeName
    address: str | None
    cordoned: bool = False  # no new volumes, unless the request names just this node


OnMembers: TypeAlias = Callable[[Sequence[Member]], None]


class NodeState(Enum):
    """Whether a node is expected to run, out of service, or gone for good, according to the source
    of the cluster's list of nodes. Whether the node's port answers has no influence.
    """

    EXPECTED = "expected"  # it is reachable, or may become so again
    OUT_OF_SERVICE = "out of service"  # an administrator says that nothing runs on it
    GONE = "gone"  # it has not been in the directory for a long time


class NodeGone(PoolUnavailable):
    """The node of a pool is gone for good, and not only unavailable."""

    def __init__(self, node: NodeName) -> None:
        super().__init__(f"node {node} is gone, with its volumes: {CURE}")
        self.node = node


# Returns whether `label` (for people, such as "volume" and its id) may count as deleted, though it
# was on this node, which is gone; see kubernetes.node_gone_policy.
Abandon: TypeAlias = Callable[[str, NodeName], Awaitable[bool]]


async def abandon_nothing(_label: str, _node: NodeName) -> bool:
    """Return False: no volume or snapshot may be given up because its node is gone. This is for a
    router that does not know which nodes are gone.
    """
    return False


class RecordEvent(Protocol):
    """The type of a function that records an Event of a node."""

    def __call__(self, node: NodeName, reason: str, text: str) -> None:
        """Record an Event of `node`. `reason`: one CamelCase word; `text`: for people."""


def no_events(node: NodeName, reason: str, text: str) -> None:
    """Record nothing, because there is no API server; the log has the event anyway."""


RecordReported: TypeAlias = Callable[[NodeName, cellar.Event], None]  # an Event that a node sent


def no_reported_events(node: NodeName, event: cellar.Event) -> None:
    """Record nothing, because there is no API server; the node's log has the event."""


class Directory(Protocol):
    """A source of the list of the cluster's nodes, such as Kubernetes or a file."""

    async def watch(self, on_members: OnMembers) -> None:
        """Pass all nodes of the cluster to `on_members`, at first and after each change, until
        cancelled.
        """

    def node_state(self, name: NodeName) -> NodeState:
        """Return whether the node is expected to run, out of service, or gone for good, according
        to this directory.
        """


class StaticFile:
    """The list of the cluster's nodes in a YAML file, which is read again when it has changed.

    `poll_interval`: seconds between two checks of the file.
    """

    def __init__(self, path: Path, poll_interval: float = POLL_INTERVAL) -> None:
        self._path = path
        self._poll_interval = poll_interval

    def read(self) -> tuple[Member, ...]:
        """Return the nodes that the file names.

        Raises: Invalid if the file cannot be read, or does not contain a list of nodes.
        """
        try:
            return parse(self._path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{self._path}: {error}") from None
        except Invalid as error:
            raise Invalid(f"{self._path}: {error}") from None

    async def watch(self, on_members: OnMembers) -> None:
        """Pass the nodes that the file names to `on_members`, at first and after each change, until
        cancelled.

        While the file is invalid, the last valid list is used.
        """
        known: tuple[Member, ...] | None = None
        stamp: object = None
        while True:
            if (now := _stamp(self._path)) != stamp:
                stamp = now
                members = self._read_or_keep(known)
                if members is not None and members != known:
                    on_members(members)
                    known = members
            await asyncio.sleep(self._poll_interval)

    def node_state(self, name: NodeName) -> NodeState:
        """Return EXPECTED (the node should run): a file does not tell why a node is not in it."""
        return NodeState.EXPECTED

    def _read_or_keep(self, known: tuple[Member, ...] | None) -> tuple[Member, ...] | None:
        try:
            return self.read()
        except Invalid as error:
            logger.error("the last valid list of nodes is used: {}", error)
            return known


def parse(text: str) -> tuple[Member, ...]:
    """Return the nodes that this YAML text names.

    Raises: Invalid, whose text has the error and an example of the format.
    """
    import yaml  # noqa: PLC0415 - a node that imports this module needs no YAML

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"not YAML: {error}") from None
    entries = document.get("nodes") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise Invalid(f"a list of nodes is expected, as in {EXAMPLE}")
    members = tuple(map(_member, entries))
    names = [member.name for member in members]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise Invalid(f"node {', '.join(sorted(repeated))} is listed twice")
    return members


def _member(entry: Any) -> Member:
    if not isinstance(entry, dict) or set(entry) - {"name", "address", "cordoned"}:
        raise Invalid(f"{entry!r} is not a node with a name and an address, as in {EXAMPLE}")
    name, address = entry.get("name"), entry.get("address")
    if not (name and isinstance(name, str)):
        raise Invalid(f"{entry!r} has no name, as in {EXAMPLE}")
    host, colon, port = str(address).rpartition(":")
    if not (host and colon and port.isdigit()):
        raise Invalid(f"node {name}: {address!r} is not HOST:PORT")
    return Member(name=name, address=str(address), cordoned=entry.get("cordoned") is True)


def _stamp(path: Path) -> object:
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino
