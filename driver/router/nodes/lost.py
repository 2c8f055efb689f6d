"""Nodes that are gone for good: what their volumes answer, and who is told."""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

from loguru import logger

from driver.core.errors import PoolUnavailable
from driver.router.kubernetes.events import Events
from driver.router.nodes.directory import NodeName

Policy: TypeAlias = Literal["retain", "forget"]

CURE: Final = (
    "bring the node or its disk back; or, if the data may be lost, start the router with"
    " --node-gone-policy=forget"
)


class NodeGone(PoolUnavailable):
    """The node of a pool is not only unavailable: it is gone, and not expected back."""

    def __init__(self, node: NodeName) -> None:
        super().__init__(f"node {node} is gone, with its volumes: {CURE}")
        self.node = node


class Knowledge(Protocol):
    """The part of a directory that can confirm with the API server that a Node object is absent."""

    async def is_absent(self, name: NodeName) -> bool:
        """Return whether the API server says, now, that there is no Node of this name."""


class LostNodePolicy:
    """Decide by `policy` whether what was on a node that is gone may be lost.

    "retain": never. "forget": if the API server confirms that the Node object is absent.
    """

    def __init__(self, known: Knowledge, events: Events, policy: Policy) -> None:
        self._known = known
        self._events = events
        self._policy = policy

    async def abandon(self, what: str, node: NodeName) -> bool:
        """Return whether the caller may report `what` as deleted, though its node is gone.

        If so, it is logged and recorded as an Event of the node. `what`: for people, such as
        "volume" and its id.
        """
        if self._policy != "forget" or not await self._known.is_absent(node):
            return False
        logger.warning("gave up {} with node {}: an orphan, if the disk comes back", what, node)
        text = f"gave up {what}: if the disk of this node comes back, it is an orphan there"
        await self._events.tell(node, "VolumeGivenUp", text)
        return True
