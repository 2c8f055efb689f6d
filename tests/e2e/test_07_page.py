"""`kubectl cellar page`: the page of a node and of a router, brought here by kubectl."""

from __future__ import annotations

import pytest

from tests.e2e import page
from tests.e2e.cluster import Cluster, CommandError, Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import NODES, Release


@pytest.fixture
def used(driver: Release, kube: Kube, space: str) -> str:
    """The namespace of a claim that a pod on node-2 uses."""
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    return space


def test_the_page_of_a_node_is_here_while_somebody_looks(
    cluster: Cluster, kube: Kube, used: str
) -> None:
    shown = page.events(cluster, "--node", "node-2")
    assert f'"namespace":"{used}","claim":"data"' in shown
    assert "NodePublishVolume" in shown
    kube.until(lambda: not _remaining(cluster), "the page in the pod has ended")


def test_the_page_of_a_router_has_all_nodes(cluster: Cluster, used: str) -> None:
    shown = page.events(cluster)
    assert f'"namespace":"{used}","claim":"data"' in shown
    assert all(f'"name":"{node}","reachable":true' in shown for node in NODES)


def test_nobody_sees_more_than_kubectl_lets_them(driver: Release, cluster: Cluster) -> None:
    with pytest.raises(CommandError, match="forbidden"):
        page.events(cluster, "--as", "somebody")


def _remaining(cluster: Cluster) -> str:
    """The processes of the page on node-2."""
    try:
        return cluster.run("pgrep", "-f", "--", "--until-eof", node=2)
    except CommandError:  # none
        return ""
