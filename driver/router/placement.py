"""Where a new volume goes: a pure function of the request and of what the nodes said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from driver.core.errors import NoSpace, PoolUnavailable
from driver.core.model import Bytes
from driver.router.nodes.directory import NodeName


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reachable node on which a volume might be created."""

    name: NodeName
    room: Bytes  # the largest volume of the kind asked for that it accepts
    cordoned: bool = False  # takes new volumes only if they must be there
    barred: bool = False  # takes none: it shows a pool that another node shows too


@dataclass(frozen=True, slots=True)
class Requirement:
    """Where a volume may be created.

    `requisite`: the nodes that meet the requirement; None: any. `preferred`: the nodes that
    were preferred, the best first.
    """

    requisite: frozenset[NodeName] | None
    preferred: tuple[NodeName, ...]

    @property
    def chosen(self) -> NodeName | None:
        """The node that the scheduler has chosen, if any."""
        return self.preferred[0] if self.preferred else None

    def allows(self, name: NodeName) -> bool:
        """Return whether a volume may be created on the node: on the chosen one only, if there is
        one.

        A volume elsewhere would be bound where its pod cannot run.
        """
        if self.chosen is not None:
            return name == self.chosen
        return self.requisite is None or name in self.requisite


def requirement(
    key: str, requisite: Sequence[Mapping[str, str]], preferred: Sequence[Mapping[str, str]]
) -> Requirement:
    """Return the requirement that the segments of these topologies express.

    `key`: the topology key that names a node. A topology without segments is met by every node.
    """
    names = [_node(key, segments) for segments in requisite]
    wishes = [name for segments in preferred if (name := _node(key, segments)) is not None]
    anywhere = not requisite or any(not segments for segments in requisite)
    return Requirement(
        None if anywhere else frozenset(name for name in names if name is not None),
        tuple(wishes),
    )


def of_source(wanted: Requirement, holder: NodeName) -> NodeName:
    """Return `holder`, the node of the source, where a restore or clone is created.

    It may be another node than the chosen one: the scheduler then finds the volume there, and
    places the pod on that node. If it were told NoSpace, it might choose the same node again
    for ever.

    Raises: NoSpace if the requirement names nodes, and not this one.
    """
    if wanted.requisite is not None and holder not in {*wanted.requisite, *wanted.preferred}:
        raise NoSpace(f"volume_content_source is on node {holder}, which may not be used here")
    return holder


def order(wanted: Requirement, candidates: Iterable[Candidate]) -> Sequence[NodeName]:
    """Return the nodes to try, that with the most free space first; at least one.

    Raises: NoSpace if no reachable node meets the requirement, or all are cordoned or barred;
    PoolUnavailable if there is no requirement and no node is reachable.
    """
    known = list(candidates)
    allowed = [one for one in known if wanted.allows(one.name)]
    if wanted.chosen is not None or wanted.requisite is not None:
        if not allowed:
            raise NoSpace(f"accessibility_requirements: {_names(wanted)} cannot be reached now")
    elif not known:
        raise PoolUnavailable("no node can be reached now")
    free = [one for one in allowed if not one.barred]
    usable = [one for one in free if wanted.chosen is not None or not one.cordoned]
    if not usable:
        raise NoSpace("each node that would do is cordoned, or shows a pool that another one shows")
    return [one.name for one in sorted(usable, key=lambda one: (-one.room, one.name))]


def _node(key: str, segments: Mapping[str, str]) -> NodeName | None:
    """Return the node that a topology names. Keys are not case-sensitive (CSI, Topology)."""
    found = {name.lower(): value for name, value in segments.items()}
    return found.get(key.lower()) if len(found) == 1 else None


def _names(wanted: Requirement) -> str:
    names = [wanted.chosen] if wanted.chosen else sorted(wanted.requisite or ())
    return ", ".join(names) or "none of the topologies is a node of this driver, so that none"
