"""What a cluster with our driver looks like to the API server."""

from __future__ import annotations

from tests.cluster.fake_apiserver import FakeCluster

NAMESPACE = "storage"
SERVICE = "cellar-node"
DRIVER = "cellar.csi.internal"
NODES = "/api/v1/nodes"
CSINODES = "/apis/storage.k8s.io/v1/csinodes"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
EVENTS = "/api/v1/namespaces/default/events"


def node(cluster: FakeCluster, name: str, *taints: str, cordoned: bool = False) -> None:
    spec = {"unschedulable": True} if cordoned else {}
    cluster.put(NODES, name, spec=spec | {"taints": [{"key": taint} for taint in taints]})


def csinode(cluster: FakeCluster, name: str, *drivers: str) -> None:
    known = [{"name": driver, "nodeID": name} for driver in drivers]
    cluster.put(CSINODES, name, spec={"drivers": known or None})


def endpoint(node: str, host: str = "127.0.0.1", *, ready: bool | None = True) -> dict[str, object]:
    conditions = {} if ready is None else {"ready": ready}
    return {"nodeName": node, "addresses": [host], "conditions": conditions}


def slice_of(
    cluster: FakeCluster,
    name: str,
    *endpoints: dict[str, object],
    port: int = 9500,
    service: str = SERVICE,
) -> None:
    cluster.put(
        SLICES,
        name,
        metadata={"labels": {"kubernetes.io/service-name": service}},
        addressType="IPv4",
        ports=[{"name": "metrics", "port": 1}, {"name": "cellar", "port": port}],
        endpoints=list(endpoints),
    )
