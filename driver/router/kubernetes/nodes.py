"""The nodes of a Kubernetes cluster: whoever has an endpoint of our Service, or our driver.

Three kinds of objects are watched. The endpoints say where a node listens: one that is not ready is
away. CSINodes say which other nodes are ours; they never tell that one is gone, for the driver
drops out of them for a moment at each restart. Whether a node is gone, Nodes say alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from driver.router.kubernetes import objects
from driver.router.kubernetes.api import Api, ApiError
from driver.router.kubernetes.informer import PAUSES, Informer, WatchPolicy
from driver.router.nodes.directory import Member, NodeName, NodeState, Tell

NODES: Final = "/api/v1/nodes"
CSINODES: Final = "/apis/storage.k8s.io/v1/csinodes"
SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
SERVICE: Final = "kubernetes.io/service-name"
STALE: Final = 180.0  # seconds without a word after which nothing is known of what is not there

Clock = Callable[[], float]


class NodeAbsences:
    """Since when there has been no Node object of a name, as far as this router has seen.

    `clock`: monotonic, seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: float | None = None  # when all Nodes were first known
        self._since: dict[NodeName, float] = {}
        self._uids: dict[NodeName, str] = {}

    def saw(self, nodes: dict[NodeName, objects.Node]) -> None:
        """Note which Node objects exist now."""
        now = self._clock()
        self._began = now if self._began is None else self._began
        for name in self._uids.keys() - nodes.keys():
            self._since.setdefault(name, now)
        for name, node in nodes.items():
            self._since.pop(name, None)
            self._uids[name] = node.uid

    def seconds(self, name: NodeName) -> float:
        """Return for how many seconds there has been no Node of this name; 0 before `saw` was
        called.
        """
        if self._began is None:
            return 0.0
        if name in self._uids and name not in self._since:
            return 0.0
        return self._clock() - self._since.get(name, self._began)

    def uid(self, name: NodeName) -> str:
        """Return the uid of the last Node of this name; empty if it was gone before this router
        started.
        """
        return self._uids.get(name, "")


class KubernetesDirectory:
    """The directory of a Kubernetes cluster, from EndpointSlices, CSINodes and Nodes."""

    def __init__(  # noqa: PLR0913, PLR0917 - whom to ask, and for what
        self,
        api: Api,
        namespace: str,
        service: str,
        driver: str,
        gone_after: float,
        clock: Clock = time.monotonic,
        pauses: tuple[float, float] = PAUSES,
    ) -> None:
        """Watch `service` in `namespace`, and the CSINodes that have `driver`.

        `gone_after`: seconds without a Node object after which a node counts as gone. `pauses`:
        seconds after an error, see WatchPolicy.
        """
        self._api = api
        self._driver = driver
        self._gone_after = gone_after
        self._clock = clock
        self._changed = asyncio.Event()
        self._absences = NodeAbsences(clock)
        path, query = SLICES.format(namespace), {"labelSelector": f"{SERVICE}={service}"}
        told, more = self._changed.set, WatchPolicy(pauses, clock)
        self._slices = Informer(api, path, objects.endpoints, told, more, query)
        self._csinodes = Informer(api, CSINODES, objects.drivers, told, more)
        self._nodes = Informer(api, NODES, objects.node, self._saw_nodes, more)

    @property
    def watches(self) -> dict[str, Informer[Any]]:
        """The informers by what they watch, for metrics."""
        return {"endpointslices": self._slices, "csinodes": self._csinodes, "nodes": self._nodes}

    async def watch(self, tell: Tell) -> None:
        """Pass the members to `tell`, at first and after each change, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self.watches.values():
                group.create_task(one.follow())
            group.create_task(self._tell(tell))

    def state_of(self, name: NodeName) -> NodeState:
        """Return the state of the node. It is never GONE while the Nodes are not known: it may be
        back.
        """
        if node := self._nodes.items.get(name):
            return NodeState.OUT_OF_SERVICE if node.out_of_service else NodeState.EXPECTED
        if not self._nodes.up or self._clock() - self._nodes.heard > STALE:
            return NodeState.EXPECTED
        gone = self._absences.seconds(name) >= self._gone_after
        return NodeState.GONE if gone else NodeState.EXPECTED

    def uid(self, name: NodeName) -> str:
        """Return the uid of the last Node of this name; empty if none was seen."""
        return self._absences.uid(name)

    async def is_absent(self, name: NodeName) -> bool:
        """Ask the API server itself, now, whether there is no such Node: before something is given
        up for ever.

        Returns False also if the server does not answer.
        """
        try:
            await self._api.get(f"{NODES}/{name}")
        except ApiError as error:
            return error.absent
        return False

    async def _tell(self, tell: Tell) -> None:
        told: Sequence[Member] | None = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not all(one.synced for one in self.watches.values()):
                continue
            members = self._members()
            if members != told:
                tell(members)
                told = members

    def _saw_nodes(self) -> None:
        self._absences.saw(self._nodes.items)
        self._changed.set()

    def _members(self) -> Sequence[Member]:
        """Return the members, sorted by name: nodes with an endpoint or with our driver in a
        CSINode.
        """
        addresses: dict[NodeName, str | None] = {}
        for slice_name in sorted(self._slices.items):
            for one in self._slices.items[slice_name]:
                addresses[one.node] = addresses.get(one.node) or one.address
        for name, drivers in self._csinodes.items.items():
            if self._driver in drivers:
                addresses.setdefault(name, None)
        return [self._member(name, addresses[name]) for name in sorted(addresses)]

    def _member(self, name: NodeName, address: str | None) -> Member:
        node = self._nodes.items.get(name)
        return Member(name=name, address=address, cordoned=bool(node and node.cordoned))
