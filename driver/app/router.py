"""`cellar route`: connects the parts of a cluster's controller, and runs its process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from importlib import metadata
from typing import Any

from loguru import logger

from csi_proto.csi_pb2_grpc import add_IdentityServicer_to_server
from driver.app import process
from driver.app.cluster import Cluster, no_problem, static_cluster
from driver.app.cluster_settings import KubernetesNodes, StaticNodes
from driver.app.settings import RouteSettings
from driver.csi.identity import Identity, controller_capabilities, group_capabilities
from driver.csi.server import UnixServer
from driver.linux import descriptors
from driver.observe import log, process_metrics
from driver.observe.conditions import Conditions
from driver.observe.http import Answer, Http
from driver.observe.loop_lag import measure_loop_lag
from driver.observe.metrics import Metrics
from driver.router import create, delete, forwarding, group_snapshots, lists
from driver.router.nodes.directory import Abandon
from driver.router.nodes.entries import NodeEntries
from driver.router.nodes.registry import Nodes
from driver.tls.identity import Identities


def route(settings: RouteSettings) -> None:
    """Serve as the controller of a cluster until SIGTERM.

    Raises: Invalid, Refused if the router cannot start.
    """
    signals = process.Signals()
    descriptors.open_standard()
    log.set_up(settings.log_level, settings.log_format)
    descriptors.raise_limit()
    process.run(_RouterProcess(settings).live(signals))


class _RouterProcess:
    """A router, from its start to its end."""

    def __init__(self, settings: RouteSettings) -> None:
        self._settings = settings
        self._version = metadata.version("cellar-csi")
        self._metrics = Metrics(self._version, ())
        self._problem: Callable[[], str | None] = no_problem  # none is known yet
        pages = process.health_pages(settings.endpoint, self._find_problem)
        self._http = Http({"/metrics": self._show_metrics, **pages})

    async def live(self, signals: process.Signals) -> None:
        """Serve until SIGTERM."""
        stop, settings = signals.stop_event(), self._settings
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(self._cluster())
            nodes = Nodes(
                cluster.directory,
                cluster.identities,
                cluster.locations,
                cluster.record_event,
                cluster.record_reported,
            )
            self._problem = cluster.problem
            self._watch_nodes(nodes)
            process_metrics.add_expiries(self._metrics, lambda: _certificates(cluster.identities))
            server = UnixServer(self._metrics.on_finish)
            self._register(nodes, server, cluster)
            surveys = (survey(nodes) for survey in cluster.surveys)
            for work in (nodes.watch(), measure_loop_lag(), *cluster.background, *surveys):
                await stack.enter_async_context(_in_background(work, stop))
            await server.open(settings.endpoint)
            stack.push_async_callback(server.close, process.GRACE)
            if settings.metrics:
                await self._http.start(*settings.metrics)
                stack.callback(self._http.stop)
            logger.info("ready", endpoint=settings.endpoint, nodes=settings.nodes)
            await stop.wait()
            logger.info("stopping: running calls end first")

    @asynccontextmanager
    async def _cluster(self) -> AsyncIterator[Cluster]:
        settings = self._settings
        match settings.nodes:
            case StaticNodes(file):
                yield static_cluster(file, settings.tls_dir)
            case KubernetesNodes() as nodes:
                from driver.app.kubernetes_cluster import kubernetes_cluster  # noqa: PLC0415 - 40 MiB

                async with kubernetes_cluster(settings, nodes, self._metrics) as cluster:
                    yield cluster

    def _register(self, nodes: Nodes, server: UnixServer, cluster: Cluster) -> None:
        """Register the services. Capabilities are those of this release, not of the nodes:
        sidecars ask once, perhaps before any node is reachable.
        """
        settings = self._settings
        hidden = frozenset[str]() if settings.attach else forwarding.ATTACHING
        identity = Identity(settings.driver_name, self._version, lambda: nodes.synced)
        add_IdentityServicer_to_server(identity, server.grpc)
        routes = {**self._routes(nodes, cluster.abandon), **cluster.routes}
        server.grpc.add_generic_rpc_handlers((forwarding.Router(nodes, routes, hidden),))

    def _routes(self, nodes: Nodes, abandon: Abandon) -> Mapping[str, forwarding.Unary]:
        attach = self._settings.attach
        attachments = attach and isinstance(self._settings.nodes, KubernetesNodes)

        entries = NodeEntries(nodes, Conditions(self._metrics).read)

        async def report_controller(*_: Any) -> Any:
            return controller_capabilities(attach=attach)

        async def report_group(*_: Any) -> Any:
            return group_capabilities()

        return {
            "ControllerGetCapabilities": report_controller,
            "GroupControllerGetCapabilities": report_group,
            "ListNodes": entries.list_nodes,
            "ListIo": entries.list_io,
            "ListCopies": entries.list_copies,
            "ListConditions": entries.list_conditions,
            **create.CreateRoutes(nodes, self._settings.topology_key).all(),
            **lists.ListRoutes(nodes).all(),
            **group_snapshots.GroupRoutes(nodes, abandon).all(),
            **delete.DeleteRoutes(nodes, abandon, attachments=attachments).all(),
        }

    def _watch_nodes(self, nodes: Nodes) -> None:
        self._metrics.add_gauges(
            "cellar_node_up",
            "Whether the node is reachable",
            "node",
            lambda: {node.name: node.reachable for node in nodes.all()},
        )

    def _find_problem(self) -> str | None:
        return self._problem()

    async def _show_metrics(self) -> Answer:
        return Answer(HTTPStatus.OK, self._metrics.text(), process.METRICS)


def _certificates(identities: Identities) -> Mapping[str, bytes]:
    """Return the certificates of the router and of its CA; none if it has none yet."""
    identity = getattr(identities, "identity", None)
    return {"ca": identity.ca, "tls": identity.certificate} if identity else {}


@asynccontextmanager
async def _in_background(work: Awaitable[None], stop: asyncio.Event) -> AsyncIterator[None]:
    """Run `work` in the background of the block. If it ends by itself, an error, set `stop`."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
