"""Nodes that are gone for good: what their volumes answer, and who is told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, Protocol, TypeAlias

from loguru import logger

from driver.cluster.api import Api, ApiError
from driver.cluster.directory import Fate, NodeName
from driver.core.errors import PoolAway

Policy: TypeAlias = Literal["retain", "forget"]

EVENTS: Final = "/api/v1/namespaces/default/events"  # of Nodes, which have no namespace
CURE: Final = (
    "bring the node or its disk back; or, if the data may be lost, start the router with"
    " --node-gone-policy=forget"
)


class NodeGone(PoolAway):
    """The node of a pool is not only away: nobody expects it back."""

    def __init__(self, node: NodeName) -> None:
        super().__init__(f"node {node} is gone, with its volumes: {CURE}")
        self.node = node


class Knowledge(Protocol):
    """Of a directory that knows nodes even if they are not there."""

    def fate(self, name: NodeName) -> Fate: ...
    async def is_absent(self, name: NodeName) -> bool: ...
    def uid(self, name: NodeName) -> str: ...


class Undertaker:
    """Gives up what was on a node that is gone, if that is the policy."""

    def __init__(
        self,
        known: Knowledge,
        api: Api,
        policy: Policy,
        driver: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._known = known
        self._api = api
        self._policy = policy
        self._driver = driver
        self._clock = clock

    async def gives_up(self, what: str, node: NodeName) -> bool:
        """True: its caller may be told that it is deleted. `what`: a volume and its id, say."""
        if self._policy != "forget" or not await self._known.is_absent(node):
            return False
        logger.warning("gave up {} with node {}: an orphan, if the disk comes back", what, node)
        await self._tell(what, node)
        return True

    async def _tell(self, what: str, node: NodeName) -> None:
        """The name of the Event is that of the thing: a repeat, or another router, adds none."""
        text = f"gave up {what}: if the disk of this node comes back, it is an orphan there"
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256(f"{node}/{what}".encode()).hexdigest()[:16]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{node}.cellar-{digest}", "namespace": "default"},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Node",
                "name": node,
                "uid": self._known.uid(node) or node,
            },
            "type": "Warning",
            "reason": "VolumeGivenUp",
            "message": text,
            "source": {"component": self._driver},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS, event)
        except ApiError as error:
            if not error.conflict:
                logger.warning("no Event of it: {}", error)
