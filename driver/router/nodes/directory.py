"""Which nodes there are, and where they listen: the port, and a file that somebody keeps."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from loguru import logger

from driver.core.errors import Invalid

NodeName: TypeAlias = str

POLL: Final = 1.0  # seconds between two looks at the file; inotify misses what a mount replaces
FORM: Final = "nodes: [{name: a, address: 127.0.0.1:9501}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the cluster. Without an address it exists, and cannot be reached now.

    `address`: HOST:PORT.
    """

    name: NodeName
    address: str | None
    cordoned: bool = False  # no new volumes, unless they are asked for just there


Tell: TypeAlias = Callable[[Sequence[Member]], None]


class NodeState(Enum):
    """State of a node according to the directory, whether or not its port answers."""

    EXPECTED = "expected"  # it is there, or it may come back
    OUT_OF_SERVICE = "out of service"  # somebody vouches that nothing runs on it
    GONE = "gone"  # nobody has known it for a long time


class Directory(Protocol):
    """The port to a list of the nodes of the cluster."""

    async def watch(self, tell: Tell) -> None:
        """Pass all members to `tell`, at first and after each change, until cancelled."""

    def state_of(self, name: NodeName) -> NodeState:
        """Return the state of the node according to this directory."""


class StaticFile:
    """A directory from a YAML file, which is read again when it has changed.

    `poll`: seconds between two looks at the file.
    """

    def __init__(self, path: Path, poll: float = POLL) -> None:
        self._path = path
        self._poll = poll

    def read(self) -> tuple[Member, ...]:
        """Return the members in the file.

        Raises: Invalid if it cannot be read, or does not contain a list of nodes.
        """
        try:
            return parse(self._path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{self._path}: {error}") from None
        except Invalid as error:
            raise Invalid(f"{self._path}: {error}") from None

    async def watch(self, tell: Tell) -> None:
        """Pass the members to `tell` until cancelled. If the file becomes invalid, the last ones
        stay.
        """
        told: tuple[Member, ...] | None = None
        stamp: object = None
        while True:
            if (now := _stamp(self._path)) != stamp:
                stamp = now
                members = self._read_or_keep(told)
                if members is not None and members != told:
                    tell(members)
                    told = members
            await asyncio.sleep(self._poll)

    def state_of(self, name: NodeName) -> NodeState:
        """Return EXPECTED: a file does not say why a node is not in it."""
        return NodeState.EXPECTED

    def _read_or_keep(self, told: tuple[Member, ...] | None) -> tuple[Member, ...] | None:
        try:
            return self.read()
        except Invalid as error:
            logger.error("the list of nodes stays as it was: {}", error)
            return told


def parse(text: str) -> tuple[Member, ...]:
    """Return the members in this YAML text.

    Raises: Invalid, with what is wrong and an example of the format.
    """
    import yaml  # noqa: PLC0415 - a node that imports this module needs no YAML

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"not YAML: {error}") from None
    entries = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise Invalid(f"a list of nodes is expected, as in {FORM}")
    members = tuple(map(_member, entries))
    names = [one.name for one in members]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Invalid(f"node {', '.join(sorted(twice))} is there twice")
    return members


def _member(entry: Any) -> Member:
    if not isinstance(entry, dict) or set(entry) - {"name", "address", "cordoned"}:
        raise Invalid(f"{entry!r} is not a node with a name and an address, as in {FORM}")
    name, address = entry.get("name"), entry.get("address")
    if not (name and isinstance(name, str)):
        raise Invalid(f"{entry!r} has no name, as in {FORM}")
    host, colon, port = str(address).rpartition(":")
    if not (host and colon and port.isdigit()):
        raise Invalid(f"node {name}: {address!r} is not HOST:PORT")
    return Member(name=name, address=str(address), cordoned=entry.get("cordoned") is True)


def _stamp(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_size, found.st_ino
