"""The topology of this driver's volumes: each can be used only on the node that has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from csi_proto import csi_pb2 as csi
from driver.core.errors import NoSpace, OutOfRange


@lru_cache
def _message(key: str, node: str) -> csi.Topology:
    """Return the message, made once: a list has it for each volume."""
    return csi.Topology(segments={key: node})


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """The topology of one node: the topology key, and the node's name as its value."""

    key: str
    node: str

    def present(self) -> csi.Topology:
        """Return the topology as a CSI message, which is to be copied and not changed."""
        return _message(self.key, self.node)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Put the node's name in front of the text of NoSpace and OutOfRange that are raised
        inside.
        """
        try:
            yield
        except (NoSpace, OutOfRange) as error:
            raise type(error)(f"node {self.node}, {error}") from error

    def within(self, topology: csi.Topology) -> bool:
        """Return whether this node has every segment of `topology`.

        Keys are not case-sensitive (CSI, Topology).
        """
        ours = {self.key.lower(): self.node}
        return all(ours.get(key.lower()) == value for key, value in topology.segments.items())

    def is_known_to(self, requirement: csi.TopologyRequirement) -> bool:
        """Return whether the caller named this node and no other, and so knows the topology."""
        return list(requirement.requisite) == [self.present()]

    def check(self, requirement: csi.TopologyRequirement) -> None:
        """Check that this node meets the requirement. `preferred` alone is a wish, not a
        condition.

        Raises: NoSpace if none of the requisite topologies is met: another node may do.
        """
        if requirement.requisite and not any(map(self.within, requirement.requisite)):
            raise NoSpace(
                f"accessibility_requirements: this is {self.key}={self.node},"
                " which none of the requisite topologies names"
            )
