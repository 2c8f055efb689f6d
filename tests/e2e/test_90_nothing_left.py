"""Everything is deleted, and nothing is left: in Kubernetes, on the nodes, in the pools."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import Cluster, Kube
from tests.e2e.release import DRIVER, POOL, SPACE, Release

pytestmark = pytest.mark.smoke

OURS = {"cellar-system", "default", "kube-node-lease", "kube-public", "kube-system"}


def test_every_namespace_of_the_tests_has_gone(driver: Release, kube: Kube) -> None:
    def left() -> set[str]:
        return {one["metadata"]["name"] for one in kube.every("namespaces")} - OURS

    kube.until(lambda: not left(), "the namespaces are gone", 180)


def test_no_object_of_a_volume_is_left(driver: Release, kube: Kube) -> None:
    kinds = "pv,volumeattachments,volumesnapshotcontents,volumegroupsnapshotcontents"
    kube.until(lambda: not kube.every(kinds), f"{kinds} are gone", 120)


def test_the_pools_and_nodes_are_empty(driver: Release, kube: Kube, cluster: Cluster) -> None:
    for node in (1, 2):
        held = cluster.run("find", POOL, "-mindepth", "1", "-maxdepth", "1", node=node).split()
        assert [one for one in held if not one.endswith(".cellar-pool.json")] == []
        mounted = cluster.run("cat", "/proc/self/mountinfo", node=node)
        staged = [one for one in mounted.splitlines() if f"/kubernetes.io/csi/{DRIVER}/" in one]
        assert staged == []
        disks = cluster.run("losetup", "-nl", "--raw", "-O", "NAME,BACK-FILE", node=node)
        assert not [one for one in disks.splitlines() if f" {POOL}/" in one]


def test_uninstalling_leaves_what_it_says_and_nothing_else(
    driver: Release, kube: Kube, cluster: Cluster
) -> None:
    driver.uninstall()
    kube.until(lambda: not kube.every("pods", SPACE), "the pods are gone", 120)
    assert kube.get("csidriver", DRIVER) is None
    kube.until(
        lambda: not (driver.registered("node-1") or driver.registered("node-2")),
        "kubelet has forgotten the driver",
    )
    assert kube.every("csistoragecapacities", SPACE) == []
    secrets = {one["metadata"]["name"] for one in kube.every("secrets", SPACE)}
    assert {one for one in secrets if not one.startswith("sh.helm.")} == {
        "cellar-ca",
        "cellar-node",
        "cellar-router",
    }
    for node in (1, 2):
        sockets = cluster.run("find", "/var/lib/kubelet", "-name", "*.sock", node=node)
        assert "cellar" not in sockets
