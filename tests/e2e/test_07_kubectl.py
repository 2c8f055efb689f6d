"""`kubectl cellar`: the commands from outside the cluster, with kubectl's rights."""

from __future__ import annotations

import json
import sys

import pytest

from tests.e2e.cluster import Cluster, CommandError, Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import NODES, SPACE, Release

PLUGIN = (sys.executable, "-m", "driver.cli.kubectl.plugin", "--driver-namespace", SPACE)


@pytest.fixture
def used(driver: Release, kube: Kube, space: str) -> str:
    """The name of a claim that a pod on node-2 uses."""
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    return f"{space}/data"


def test_a_claim_leads_to_its_pool_and_its_calls(cluster: Cluster, used: str) -> None:
    [row] = json.loads(cluster.run(*PLUGIN, "describe", used, "-o", "json"))
    assert (row["node"], row["pool"]) == ("node-2", "fast")
    assert [mount["staging"] for mount in row["mounts"]].count(True) == 1
    calls = cluster.run(*PLUGIN, "--node", "node-2", "calls", "--past", "200", "-o", "name")
    assert "NodePublishVolume" in calls.split()


def test_volumes_of_a_namespace_are_listed(cluster: Cluster, used: str, space: str) -> None:
    [row] = json.loads(cluster.run(*PLUGIN, "volumes", "--namespace", space, "-o", "json"))
    assert f"{row['namespace']}/{row['claim']}" == used


def test_the_nodes_are_listed(driver: Release, cluster: Cluster) -> None:
    rows = json.loads(cluster.run(*PLUGIN, "nodes", "-o", "json"))
    assert {row["name"]: row["reachable"] for row in rows} == dict.fromkeys(NODES, True)


def test_nobody_gets_more_rights_than_kubectl_has(driver: Release, cluster: Cluster) -> None:
    with pytest.raises(CommandError, match="forbidden"):
        cluster.run(*PLUGIN, "--as", "somebody", "volumes")
