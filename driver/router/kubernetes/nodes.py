"""The nodes of a Kubernetes cluster that have an endpoint of the driver's Service, or its CSINode
entry.

Three kinds of objects are watched. EndpointSlices have the nodes' addresses; a node whose endpoint
is not ready is unreachable. CSINodes have the nodes on which the driver is registered. Whether a
node is gone is decided only by Node objects, because the entry in a CSINode disappears for a moment
at each restart of the driver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from driver.core.backoff import Backoff
from driver.router.kubernetes import objects
from driver.router.kubernetes.api import Api, ApiError
from driver.router.kubernetes.informer import BACKOFF, Informer, WatchPolicy
from driver.router.nodes.directory import Member, NodeName, NodeState, OnMembers

NODES: Final = "/api/v1/nodes"
CSINODES: Final = "/apis/storage.k8s.io/v1/csinodes"
SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
SERVICE: Final = "kubernetes.io/service-name"
WATCH_LIFETIME: Final = 180.0  # seconds without a response after which absence does not count

Clock = Callable[[], float]


class NodeAbsences:
    """Measures for how long there has been no Node object with a name, as observed by this router.

    `clock`: returns monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_at: float | None = None  # monotonic: when all Nodes were first known
        self._since: dict[NodeName, float] = {}
        self._uids: dict[NodeName, str] = {}

    def observe(self, nodes: dict[NodeName, objects.Node]) -> None:
        """Record which Node objects exist now."""
        now = self._clock()
        self._began_at = now if self._began_at is None else self._began_at
        for name in self._uids.keys() - nodes.keys():
            self._since.setdefault(name, now)
        for name, node in nodes.items():
            self._since.pop(name, None)
            self._uids[name] = node.uid

    def seconds(self, name: NodeName) -> float:
        """Return for how many seconds there has been no Node object with this name; 0 if no Node
        objects were observed yet.
        """
        if self._began_at is None:
            return 0.0
        if name in self._uids and name not in self._since:
            return 0.0
        return self._clock() - self._since.get(name, self._began_at)

    def uid(self, name: NodeName) -> str:
        """Return the uid of the last Node with this name; "": no such Node was observed since this
        router started.
        """
        return self._uids.get(name, "")


class KubernetesDirectory:
    """The list of the nodes of a Kubernetes cluster and their states, from EndpointSlices, CSINodes
    and Nodes.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the API, the objects, the policy
        self,
        api: Api,
        namespace: str,
        service: str,
        driver: str,
        gone_after: float,
        clock: Clock = time.monotonic,
        backoff: Backoff = BACKOFF,
    ) -> None:
        """Watch `service` in `namespace`, and the CSINodes that have `driver`.

        `gone_after`: seconds without a Node object after which a node counts as gone.
        `backoff`: the pauses after errors, see WatchPolicy.
        """
        self._api = api
        self._driver = driver
        self._gone_after = gone_after
        self._clock = clock
        self._changed = asyncio.Event()
        self._absences = NodeAbsences(clock)
        path, query = SLICES.format(namespace), {"labelSelector": f"{SERVICE}={service}"}
        changed, policy = self._changed.set, WatchPolicy(backoff, clock)
        self._slices = Informer(api, path, objects.endpoints, changed, policy, query)
        self._csinodes = Informer(api, CSINODES, objects.drivers, changed, policy)
        self._nodes = Informer(api, NODES, objects.node, self._on_nodes, policy)

    @property
    def watches(self) -> dict[str, Informer[Any]]:
        """Return the informers by the kind of objects that they watch, for metrics."""
        return {"endpointslices": self._slices, "csinodes": self._csinodes, "nodes": self._nodes}

    async def watch(self, on_members: OnMembers) -> None:
        """Pass all nodes of the cluster to `on_members`, at first and after each change, until
        cancelled.
        """
        async with asyncio.TaskGroup() as group:
            for informer in self.watches.values():
                group.create_task(informer.follow())
            group.create_task(self._pass_members(on_members))

    def node_state(self, name: NodeName) -> NodeState:
        """Return whether the node is expected to run, out of service, or gone for good.

        The state is never GONE while the API server does not answer, because the node may be back.
        """
        if node := self._nodes.items.get(name):
            return NodeState.OUT_OF_SERVICE if node.out_of_service else NodeState.EXPECTED
        if not self._nodes.up or self._clock() - self._nodes.last_response > WATCH_LIFETIME:
            return NodeState.EXPECTED
        gone = self._absences.seconds(name) >= self._gone_after
        return NodeState.GONE if gone else NodeState.EXPECTED

    def uid(self, name: NodeName) -> str:
        """Return the uid of the last Node with this name; "": none was seen."""
        return self._absences.uid(name)

    async def is_absent(self, name: NodeName) -> bool:
        """Ask the API server now whether there is no Node with this name, before a volume is given
        up for ever.

        Returns False if the server does not answer.
        """
        try:
            await self._api.get(f"{NODES}/{name}")
        except ApiError as error:
            return error.absent
        return False

    async def _pass_members(self, on_members: OnMembers) -> None:
        known: Sequence[Member] | None = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not all(informer.synced for informer in self.watches.values()):
                continue
            members = self._members()
            if members != known:
                on_members(members)
                known = members

    def _on_nodes(self) -> None:
        self._absences.observe(self._nodes.items)
        self._changed.set()

    def _members(self) -> Sequence[Member]:
        """Return the members, sorted by name: nodes with an endpoint or with our driver in a
        CSINode.
        """
        addresses: dict[NodeName, str | None] = {}
        for slice_name in sorted(self._slices.items):
            for endpoint in self._slices.items[slice_name]:
                known = addresses.get(endpoint.node)
                addresses[endpoint.node] = known or endpoint.address
        for name, drivers in self._csinodes.items.items():
            if self._driver in drivers:
                addresses.setdefault(name, None)
        return [self._member(name, addresses[name]) for name in sorted(addresses)]

    def _member(self, name: NodeName, address: str | None) -> Member:
        node = self._nodes.items.get(name)
        return Member(name=name, address=address, cordoned=bool(node and node.cordoned))
