"""The cluster of `cellar route --nodes kubernetes`. Imported only for that, because it needs 40
MiB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from driver.app.cluster import Cluster, Survey, no_problem
from driver.app.cluster_settings import KubernetesNodes
from driver.app.settings import RouteSettings
from driver.observe import router_metrics
from driver.observe.metrics import Metrics
from driver.router.forwarding import Unary
from driver.router.kubernetes import claim_survey, client
from driver.router.kubernetes.api import Api
from driver.router.kubernetes.certificates import Secrets
from driver.router.kubernetes.events import Events
from driver.router.kubernetes.node_gone_policy import NodeGonePolicy
from driver.router.kubernetes.nodes import KubernetesDirectory
from driver.router.kubernetes.orphans import Orphans
from driver.router.kubernetes.pool_location_store import PoolLocationStore
from driver.router.nodes.pool_locations import PoolLocations
from driver.tls.identity import Files, Identities


@asynccontextmanager
async def kubernetes_cluster(
    settings: RouteSettings, nodes: KubernetesNodes, metrics: Metrics
) -> AsyncIterator[Cluster]:
    """Connect to the API server; yield the cluster whose nodes are the Service's endpoints."""
    namespace = nodes.namespace or client.own_namespace()
    async with client.connect(settings.kubeconfig) as api:
        directory = KubernetesDirectory(
            api, namespace, nodes.service, settings.driver_name, settings.node_gone_after
        )
        events = Events(api, settings.driver_name, directory.uid)
        locations = PoolLocations()
        store = PoolLocationStore(api, namespace, f"{settings.objects}-pools", locations)
        identities: Identities
        problem, background = no_problem, [store.repeat()]
        if settings.tls_dir:
            identities = Files(settings.tls_dir)
        else:
            identities = secrets = Secrets(api, namespace, settings.objects)
            problem = lambda: secrets.problem  # noqa: E731 - it changes
            background.append(secrets.repeat())
        metrics.add_gauges(
            "cellar_kubernetes_watch_up",
            "Whether the watch of the API server works",
            "kind",
            lambda: {kind: informer.up for kind, informer in directory.watches.items()},
        )
        surveys, routes = _surveys(api, settings, metrics)
        yield Cluster(
            directory=directory,
            identities=identities,
            abandon=NodeGonePolicy(directory, events, settings.node_gone_policy).abandon,
            record_event=events.record_soon,
            record_reported=events.record_reported_soon,
            problem=problem,
            locations=locations,
            background=background,
            surveys=surveys,
            routes=routes,
        )


def _surveys(
    api: Api, settings: RouteSettings, metrics: Metrics
) -> tuple[Sequence[Survey], Mapping[str, Unary]]:
    """Return the survey of all volumes, for orphans and names, and the RPC that lists the orphans;
    both are empty if the settings turn them off.
    """
    if not settings.orphans_after:
        return (), {}
    orphans = Orphans(settings.orphans_after)
    pause = claim_survey.interval(settings.orphans_after)
    survey = claim_survey.ClaimSurvey(api, settings.driver_name, orphans, pause)
    router_metrics.add_orphans(metrics, orphans.numbers, orphans.sizes)
    return (survey.repeat,), {"ListOrphans": orphans.list_orphans}
