"""Where this driver's volumes can be used: on this node, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csi_proto import csi_pb2 as csi
from driver.core.errors import NoSpace, OutOfRange


@dataclass(frozen=True, slots=True)
class NodeTopology:
    """One node, as the one value of one topology key."""

    key: str
    node: str

    def present(self) -> csi.Topology:
        return csi.Topology(segments={self.key: self.node})

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Put the node's name in front of what is said when a pool is full."""
        try:
            yield
        except (NoSpace, OutOfRange) as error:
            raise type(error)(f"node {self.node}, {error}") from error

    def within(self, topology: csi.Topology) -> bool:
        """Every segment that is asked for is ours; keys do not mind their case (CSI, Topology)."""
        ours = {self.key.lower(): self.node}
        return all(ours.get(key.lower()) == value for key, value in topology.segments.items())

    def is_known_to(self, requirement: csi.TopologyRequirement) -> bool:
        """The caller named this node and no other, so that it need not be told."""
        return list(requirement.requisite) == [self.present()]

    def check(self, requirement: csi.TopologyRequirement) -> None:
        """NoSpace: another node may do. `preferred` alone is a wish, not a condition."""
        if requirement.requisite and not any(map(self.within, requirement.requisite)):
            raise NoSpace(
                f"accessibility_requirements: this is {self.key}={self.node},"
                " which none of the requisite topologies names"
            )
