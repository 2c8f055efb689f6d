"""Kubelet, the driver's pods and the release are replaced while a pod writes, and it does not notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, Kube
from tests.e2e.objects import WRITER, claim, pod
from tests.e2e.release import SPACE, Release


class Writer:
    """A pod that appends a number a moment, and ends at the first error."""

    def __init__(self, kube: Kube, space: str, node: str) -> None:
        self.kube, self.space = kube, space
        kube.apply(
            claim("data", space), pod("writer", space, {"data": "/data"}, script=WRITER, node=node)
        )
        kube.running("writer", space)
        self.loop = self._loop()

    def lines(self) -> list[int]:
        return [int(one) for one in self.kube.shell("writer", self.space, "cat /data/log").split()]

    def goes_on(self) -> None:
        """It has written since, without a gap, on the same loop device, and was never started again."""
        before = len(self.lines())
        self.kube.until(lambda: len(self.lines()) > before + 2, "the writer goes on")
        lines = self.lines()
        assert lines == list(range(1, len(lines) + 1))
        status = self.kube.running("writer", self.space)["status"]["containerStatuses"][0]
        assert status["restartCount"] == 0
        assert self._loop() == self.loop

    def _loop(self) -> str:
        return self.kube.shell("writer", self.space, "grep ' /data ' /proc/mounts | cut -d' ' -f1")


@pytest.fixture
def writer(driver: Release, kube: Kube, space: str) -> Iterator[Writer]:
    one = Writer(kube, space, "node-2")
    yield one
    one.goes_on()


def test_kubelet_restarts(
    writer: Writer, driver: Release, kube: Kube, cluster: Cluster, space: str
) -> None:
    cluster.kubelet("restart", node=2)
    _another_pod(kube, space)


@pytest.mark.smoke
def test_the_driver_pod_is_replaced(
    writer: Writer, driver: Release, kube: Kube, space: str
) -> None:
    old = driver.driver_pod("node-2")
    assert old
    kube.delete("pod", old["metadata"]["name"], SPACE)
    kube.until(lambda: driver.is_ready("node-2"), "the new driver is ready")
    assert driver.registered("node-2")
    _another_pod(kube, space)


def test_the_driver_is_killed(
    writer: Writer, driver: Release, kube: Kube, cluster: Cluster, space: str
) -> None:
    old = driver.driver_pod("node-2")
    assert old
    restarts = old["status"]["containerStatuses"][0]["restartCount"]
    container = old["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    cluster.run(
        "ctr",
        "-a",
        "/run/containerd/containerd.sock",
        "-n",
        "k8s.io",
        "task",
        "kill",
        "-s",
        "SIGKILL",
        container,
        node=2,
    )

    def again() -> bool:
        found = driver.driver_pod("node-2")
        statuses = (found or {}).get("status", {}).get("containerStatuses") or [{}]
        return bool(statuses[0].get("restartCount", 0) > restarts)

    kube.until(again, "the driver was started again")
    kube.until(lambda: driver.is_ready("node-2"), "the driver is ready again")
    _another_pod(kube, space)


def test_the_release_is_upgraded(writer: Writer, driver: Release, kube: Kube, space: str) -> None:
    old = {node: driver.driver_pod(node) for node in ("node-1", "node-2")}
    driver.install(log={"level": "info", "format": "text"})
    driver.rolled_out("daemonset/cellar-node")
    for node, pod_before in old.items():
        new = driver.driver_pod(node)
        assert new and pod_before
        assert new["metadata"]["uid"] != pod_before["metadata"]["uid"]
    _another_pod(kube, space)


def test_what_cannot_be_changed_in_place_is_refused_with_the_cure(driver: Release) -> None:
    with pytest.raises(Exception, match="kubectl delete csidriver"):
        driver.install(attach={"enabled": False})
    with pytest.raises(Exception, match="Give the new one another name"):
        driver.install(storageClasses=[{"name": "cellar", "parameters": {"pool": "fast"}}])


def _another_pod(kube: Kube, space: str) -> None:
    """The node takes new volumes, and lets them go."""
    kube.apply(claim("more", space), pod("more", space, {"more": "/data"}, node="node-2"))
    kube.running("more", space, 120)
    kube.delete("pod", "more", space)
    kube.delete("pvc", "more", space)
