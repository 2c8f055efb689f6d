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
    """The node of a pool is not only away: nobody expects it back."""

    def __init__(self, node: NodeName) -> None:
        super().__init__(f"node {node} is gone, with its volumes: {CURE}")
        self.node = node


class Knowledge(Protocol):
    """The part of a directory that can confirm with the API server that a Node object is absent."""

    async def is_absent(self, name: NodeName) -> bool: ...


class LostNodePolicy:
    """Gives up what was on a node that is gone, if that is the policy."""

    def __init__(self, known: Knowledge, events: Events, policy: Policy) -> None:
        self._known = known
        self._events = events
        self._policy = policy

    async def abandon(self, what: str, node: NodeName) -> bool:
        """True: its caller may be told that it is deleted. `what`: a volume and its id, say."""
        if self._policy != "forget" or not await self._known.is_absent(node):
            return False
        logger.warning("gave up {} with node {}: an orphan, if the disk comes back", what, node)
        text = f"gave up {what}: if the disk of this node comes back, it is an orphan there"
        await self._events.tell(node, "VolumeGivenUp", text)
        return True
