"""The chart comes before its nodes, the nodes before their disks, and no sidecar is started again for it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.cluster import Cluster, Kube
from tests.e2e.release import DRIVER, NODES, SPACE, Release

pytestmark = pytest.mark.smoke


def test_the_controllers_are_ready_before_any_node_has_the_driver(
    bare: Release, kube: Kube
) -> None:
    bare.install()
    controllers = kube.every("pods", SPACE, "app.kubernetes.io/component=controller")
    assert len(controllers) == 2
    assert {len(pod["spec"]["containers"]) for pod in controllers} == {5}
    assert kube.every("pods", SPACE, "app.kubernetes.io/component=node") == []
    assert not any(bare.registered(node) for node in NODES)


def test_the_router_makes_the_certificates_and_keeps_the_ca_to_itself(
    bare: Release, kube: Kube
) -> None:
    for role in ("ca", "router", "node"):
        found = kube.get("secret", f"cellar-{role}", SPACE)
        assert found and set(found["data"]) == {"ca.crt", "tls.crt", "tls.key"}
    node = kube.get("secret", "cellar-node", SPACE)
    authority = kube.get("secret", "cellar-ca", SPACE)
    assert node and authority
    assert node["data"]["ca.crt"] == authority["data"]["tls.crt"]
    mounted = json.dumps(kube.get("daemonset", "cellar-node", SPACE))
    assert "cellar-node" in mounted
    assert "cellar-ca" not in mounted


def test_nodes_that_come_later_are_found_without_a_restart(
    bare: Release, kube: Kube, cluster: Cluster
) -> None:
    before = bare.restarts()
    for node in NODES:
        bare.has_pools(node)
        found = kube.get("node", node)
        assert found and found["metadata"]["labels"][f"{DRIVER}/node"] == node
    kube.until(lambda: set(bare.room()) == set(NODES), "a capacity object for each node")
    assert bare.restarts() == before
    assert not any(before.values())


def test_a_disk_that_is_mounted_later_becomes_a_pool(
    bare: Release, kube: Kube, cluster: Cluster
) -> None:
    drivers = {node: _uid(bare, node) for node in NODES}
    assert set(bare.room().values()) == {0}  # the empty directory below is not a pool
    for number in (1, 2):
        cluster.mount_disk(number)
    kube.until(lambda: all(bare.room().get(node, 0) > 1 << 30 for node in NODES), "room")
    assert {node: _uid(bare, node) for node in NODES} == drivers
    assert not any(bare.restarts().values())


def _uid(bare: Release, node: str) -> str:
    pod = bare.driver_pod(node)
    assert pod
    return str(pod["metadata"]["uid"])
