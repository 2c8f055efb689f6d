"""Kubernetes Events of nodes, which `kubectl describe node` shows."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from loguru import logger

from driver.router.kubernetes.api import Api, ApiError
from driver.router.nodes.directory import NodeName

EVENTS: Final = "/api/v1/namespaces/default/events"  # of Nodes, which have no namespace


class Events:
    """Record Events of Node objects. Lives on the event loop.

    `component`: the source of the Events. `uid` returns the uid of a Node object, also of one
    that is gone.
    """

    def __init__(
        self,
        api: Api,
        component: str,
        uid: Callable[[NodeName], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._component = component
        self._uid = uid
        self._clock = clock
        self._recording: set[asyncio.Task[None]] = set()

    def record_soon(self, node: NodeName, reason: str, text: str) -> None:
        """Do what `record` does, without waiting for it."""
        task = asyncio.create_task(self.record(node, reason, text))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def record(self, node: NodeName, reason: str, text: str) -> None:
        """Record an Event, once for each node, reason and text: a repeat, or another router, finds
        that it exists.

        `reason`: one CamelCase word; `text`: for people. An error of the API server is logged
        only.
        """
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256(f"{node}/{reason}/{text}".encode()).hexdigest()[:16]
        involved = {"apiVersion": "v1", "kind": "Node", "name": node}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{node}.cellar-{digest}", "namespace": "default"},
            "involvedObject": involved | {"uid": self._uid(node) or node},
            "type": "Warning",
            "reason": reason,
            "message": text,
            "source": {"component": self._component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS, event)
        except ApiError as error:
            if not error.conflict:
                logger.warning("an Event of node {} was not recorded: {}", node, error)
