"""The topology of this driver's volumes: each can only be used on the node that has its pool."""

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
    """The topology of one node (CSI, Topology): the segment with the key `key` and the node's name
    as its value.
    """

    key: str
    node: str

    def present(self) -> csi.Topology:
        """Return the topology as a CSI message. The message is shared, so it must be copied before
        it is changed.
        """
        return _message(self.key, self.node)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Prefix the text of a NoSpace or OutOfRange that the `with` block raises with the node's
        name.
        """
        try:
            yield
        except (NoSpace, OutOfRange) as error:
            raise type(error)(f"node {self.node}, {error}") from error

    def within(self, topology: csi.Topology) -> bool:
        """Return whether this node has all segments of `topology`.

        Keys are compared without case (CSI, Topology).
        """
        ours = {self.key.lower(): self.node}
        return all(ours.get(key.lower()) == value for key, value in topology.segments.items())

    def is_known_to(self, requirement: csi.TopologyRequirement) -> bool:
        """Return whether the accessibility requirement of CreateVolume names this node and no
        other, which shows that the caller knows this node's topology.
        """
        return list(requirement.requisite) == [self.present()]

    def check(self, requirement: csi.TopologyRequirement) -> None:
        """Check that a volume with this accessibility requirement may be created on this node.
        Topologies that are only `preferred` need not be met.

        Raises: NoSpace if none of the requisite topologies is met; another node may meet them.
        """
        if requirement.requisite and not any(map(self.within, requirement.requisite)):
            raise NoSpace(
                f"accessibility_requirements: this is {self.key}={self.node},"
                " which none of the requisite topologies names"
            )
