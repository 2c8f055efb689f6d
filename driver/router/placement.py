"""Chooses the node for a new volume: pure functions of the request and the nodes' reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from driver.core.errors import NoSpace, PoolUnavailable
from driver.core.model import Bytes
from driver.router.nodes.directory import NodeName


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reachable node on which a volume might be created.

    `largest`: the size in bytes of the largest volume of the requested kind that the node accepts.
    `cordoned`: the node accepts new volumes only if the request names it. `duplicated`: the node
    reports a pool that another node reports too, and accepts no volumes. `lacks_pool`: the node
    does not have the requested pool, but another one does.
    """

    name: NodeName
    largest: Bytes
    cordoned: bool = False
    duplicated: bool = False
    lacks_pool: bool = False


@dataclass(frozen=True, slots=True)
class Requirement:
    """The nodes on which a volume may be created, from CSI's accessibility requirements.

    `requisite`: the nodes on which the volume may be created; None: all. `preferred`: the preferred
    nodes, the best first.
    """

    requisite: frozenset[NodeName] | None
    preferred: tuple[NodeName, ...]

    @property
    def chosen(self) -> NodeName | None:
        """Return the node that the scheduler has chosen for the pod, the first preferred one; None:
        it has chosen none.
        """
        return self.preferred[0] if self.preferred else None

    def allows(self, name: NodeName) -> bool:
        """Return whether a volume may be created on the node. If the scheduler has chosen a node,
        only that node is allowed, because the pod will run there.
        """
        if self.chosen is not None:
            return name == self.chosen
        return self.requisite is None or name in self.requisite


def parse_requirement(
    key: str, requisite: Sequence[Mapping[str, str]], preferred: Sequence[Mapping[str, str]] = ()
) -> Requirement:
    """Return the accessibility requirement of a CSI request. `requisite`, `preferred`: its
    topologies, each a map of segments.

    `key`: the topology key that names a node. A topology without segments is met by every node.
    """
    names = [_node(key, segments) for segments in requisite]
    wishes = [name for segments in preferred if (name := _node(key, segments)) is not None]
    anywhere = not requisite or any(not segments for segments in requisite)
    return Requirement(
        None if anywhere else frozenset(name for name in names if name is not None),
        tuple(wishes),
    )


def check_source(requirement: Requirement, node: NodeName) -> None:
    """Check that a restore or clone may be created on the node of its source.

    `node`: the source's node. It may be another node than the scheduler has chosen for the pod: the
    scheduler then places the pod on the volume's node. A NoSpace would not help, because the
    scheduler might choose the same node again, for ever.

    Raises: NoSpace if the accessibility requirement names nodes, but not `node`.
    """
    accessible = requirement.requisite
    if accessible is not None and node not in {*accessible, *requirement.preferred}:
        raise NoSpace(f"volume_content_source is on node {node}, which may not be used here")


def order(requirement: Requirement, candidates: Iterable[Candidate]) -> Sequence[NodeName]:
    """Return the names of the nodes on which to try to create a volume, the node with the most free
    space first; at least one.

    Raises: NoSpace if the accessibility requirement allows no reachable node, or all are cordoned,
    report duplicated pools or lack the requested pool; PoolUnavailable if every node is allowed and
    none is reachable.
    """
    known = list(candidates)
    allowed = [candidate for candidate in known if requirement.allows(candidate.name)]
    chosen = requirement.chosen is not None
    if chosen or requirement.requisite is not None:
        if not allowed:
            names = _names(requirement)
            raise NoSpace(f"accessibility_requirements: {names} cannot be reached now")
    elif not known:
        raise PoolUnavailable("no node can be reached now")
    having = [candidate for candidate in allowed if not candidate.lacks_pool]
    if not having:
        raise NoSpace("no accessible node has the pool that is asked for; other nodes have it")
    usable = [
        candidate
        for candidate in having
        if not candidate.duplicated and (chosen or not candidate.cordoned)
    ]
    if not usable:
        raise NoSpace("each accessible node is cordoned, or has a pool that is on two nodes")
    usable.sort(key=lambda candidate: (-candidate.largest, candidate.name))
    return [candidate.name for candidate in usable]


def _node(key: str, segments: Mapping[str, str]) -> NodeName | None:
    """Return the node that a topology names. Keys are not case-sensitive (CSI, Topology)."""
    by_key = {name.lower(): value for name, value in segments.items()}
    return by_key.get(key.lower()) if len(by_key) == 1 else None


def _names(requirement: Requirement) -> str:
    names = [requirement.chosen] if requirement.chosen else sorted(requirement.requisite or ())
    return ", ".join(names) or "none of the topologies is a node of this driver, so that none"
