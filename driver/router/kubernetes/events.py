"""Records Kubernetes Events of nodes, claims, pods and snapshots, which `kubectl describe`
shows.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.router.kubernetes import involved_object
from driver.router.kubernetes.api import Api, ApiError, Json
from driver.router.nodes.directory import NodeName

_OF_NODES: Final = "default"  # the namespace of Events of Nodes, which have none
# Reasons that may recur: within so many seconds they are one Event.
_REPEAT_INTERVALS: Final = {"PoolUnavailable": 600, "PoolAvailable": 600}
_GOOD: Final = frozenset({"PoolAvailable"})
_REMEMBERED: Final = 1000  # reported events that are not recorded again


class Events:
    """Records Events of Kubernetes objects by the API server. To be used on the event loop only.

    `component`: the source of the Events. `uid`: returns the uid of a Node object, even of one that
    was deleted.
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
        self._reported: dict[str, None] = {}  # names of Events, in order

    def record_soon(self, node: NodeName, reason: str, text: str) -> None:
        """Record an Event of a node in the background, without waiting for the API server.
        `reason`: one CamelCase word; `text`: for people.
        """
        self._start(self.record(node, reason, text))

    def record_reported_soon(self, node: NodeName, event: cellar.Event) -> None:
        """Record the Event that a node reports in the background, without waiting for the API
        server; no-op if this router has recorded that Event already.
        """
        name = _reported_name(node, event)
        if name not in self._reported:
            self._reported[name] = None
            if len(self._reported) > _REMEMBERED:
                del self._reported[next(iter(self._reported))]
            self._start(self.record_reported(node, event))

    async def record(self, node: NodeName, reason: str, text: str) -> None:
        """Record an Event of a node. Only one Event is recorded for each node, reason and text,
        also if several routers call this. For reasons that may recur, another Event is recorded
        after ten minutes.

        `reason`: one CamelCase word; `text`: for people. An error of the API server is only logged.
        """
        now = self._clock()
        repeated = (
            f"/{now.timestamp() // _REPEAT_INTERVALS[reason]:.0f}"
            if reason in _REPEAT_INTERVALS
            else ""
        )
        digest = hashlib.sha256(f"{node}/{reason}/{text}{repeated}".encode()).hexdigest()[:16]
        event = self._event(f"{node}.cellar-{digest}", reason, text, now)
        kind = "Normal" if reason in _GOOD else "Warning"
        await self._create({**event, "involvedObject": self._node(node), "type": kind})

    async def record_reported(self, node: NodeName, event: cellar.Event) -> None:
        """Record the Event that a node reports, for the object that it concerns. Only one Event is
        recorded, also if several routers call this. An error of the API server is only logged.
        """
        subject = await involved_object.find_object(self._api, event) or self._node(node)
        text = f"{event.text} (node {node})" if subject["kind"] != "Node" else event.text
        at = datetime.fromtimestamp(event.at, UTC)
        kind = "Warning" if event.warning else "Normal"
        namespace = subject.get("namespace", _OF_NODES)
        message = self._event(_reported_name(node, event), event.reason, text, at, namespace)
        await self._create({**message, "involvedObject": subject, "type": kind})

    def _event(
        self, name: str, reason: str, text: str, at: datetime, namespace: str = _OF_NODES
    ) -> Json:
        moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "reason": reason,
            "message": text,
            "source": {"component": self._component},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }

    def _node(self, node: NodeName) -> Json:
        uid = self._uid(node) or node
        return {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}

    async def _create(self, event: Json) -> None:
        path = f"/api/v1/namespaces/{event['metadata']['namespace']}/events"
        try:
            await self._api.create(path, event)
        except ApiError as error:
            if not error.conflict:
                subject = event["involvedObject"]
                logger.warning(
                    "an Event of {} {} was not recorded: {}",
                    subject["kind"],
                    subject["name"],
                    error,
                )

    def _start(self, recording: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(recording)
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)


def _reported_name(node: NodeName, event: cellar.Event) -> str:
    """Return the name of the Event, the same for all routers that hear of it."""
    identity = f"{node}/{event.at!r}/{event.number}/{event.reason}/{event.volume_id}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return f"{(event.name or node)[:200].rstrip('.-')}.cellar-{digest}"
