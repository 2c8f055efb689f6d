"""Decides about the volumes of nodes that are gone, according to the API server."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from loguru import logger

from driver.router.kubernetes.events import Events
from driver.router.nodes.directory import NodeName

Policy: TypeAlias = Literal["retain", "forget"]


class ConfirmsAbsence(Protocol):
    """An object that can ask the API server whether a Node object does not exist."""

    async def is_absent(self, name: NodeName) -> bool:
        """Return whether the API server confirms, now, that there is no Node with this name."""


class NodeGonePolicy:
    """Decides by `policy` whether the volumes of a node that is gone for good may be reported as
    deleted.

    "retain": never. "forget": if the API server confirms that the Node object does not exist.
    """

    def __init__(self, directory: ConfirmsAbsence, events: Events, policy: Policy) -> None:
        self._directory = directory
        self._events = events
        self._policy = policy

    async def abandon(self, label: str, node: NodeName) -> bool:
        """Return whether a volume or snapshot may be reported as deleted although its node is gone.

        If so, that is logged and recorded as an Event of the node. `label`: names the volume or
        snapshot for people, such as "volume" and its id.
        """
        if self._policy != "forget" or not await self._directory.is_absent(node):
            return False
        logger.warning(
            "abandoned {} with node {}: it is an orphan if the disk comes back", label, node
        )
        text = f"abandoned {label}: if the disk of this node comes back, it is an orphan there"
        await self._events.record(node, "VolumeGivenUp", text)
        return True
