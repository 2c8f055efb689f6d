"""Nodes that die, are cut off, come back, or are gone for good."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import objects
from tests.e2e.cluster import Cluster, Kube
from tests.e2e.documents import block, type_in
from tests.e2e.objects import claim, pod, snapshot
from tests.e2e.release import SPACE, Release


@pytest.fixture
def back(driver: Release, cluster: Cluster, kube: Kube) -> Iterator[None]:
    """Whatever happened, both nodes are up and well afterwards."""
    yield
    cluster.power_on(2)
    kube.until(lambda: _is_ready(kube, "node-2"), "node-2 is back")
    driver.ready()


def test_a_node_that_died_comes_back_with_its_volumes(
    driver: Release, cluster: Cluster, kube: Kube, space: str, back: None
) -> None:
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    kube.shell("writer", space, "echo kept > /data/a && sync /data/a")
    kube.apply(claim("doomed", space), pod("other", space, {"doomed": "/data"}, node="node-2"))
    kube.running("other", space)
    kube.delete("pod", "other", space)
    volume = _volume(kube, "doomed", space)
    kube.until(lambda: not _attachments(kube, volume), "the volume to delete is detached")
    cluster.power_off(2)
    kube.until(lambda: not _is_ready(kube, "node-2"), "the death is noticed")
    kube.delete("pvc", "doomed", space, wait=False)
    kube.until(
        lambda: any("Unavailable" in one for one in kube.events("default", volume)),
        "deleting a volume of the dead node answers UNAVAILABLE",
    )
    _works(kube, space, "node-1")
    cluster.power_on(2)
    kube.until(lambda: _is_ready(kube, "node-2"), "node-2 is back")
    kube.gone("pv", volume)
    kube.delete("pod", "writer", space)
    kube.apply(pod("reader", space, {"data": "/data"}))
    assert kube.running("reader", space, 150)["spec"]["nodeName"] == "node-2"
    assert kube.shell("reader", space, "cat /data/a") == "kept"


def test_a_node_that_is_cut_off_goes_on_writing(
    driver: Release, cluster: Cluster, kube: Kube, space: str, back: None
) -> None:
    kube.apply(
        claim("data", space),
        pod("writer", space, {"data": "/data"}, script=objects.WRITER, node="node-2"),
    )
    kube.running("writer", space)
    before = len(kube.shell("writer", space, "cat /data/log").split())
    cluster.disconnect(2)
    kube.until(lambda: not _is_ready(kube, "node-2"), "the partition is noticed")
    _works(kube, space, "node-1")
    cluster.connect(2)
    kube.until(lambda: _is_ready(kube, "node-2"), "node-2 is back")
    lines = [int(one) for one in kube.shell("writer", space, "cat /data/log").split()]
    assert lines == list(range(1, len(lines) + 1))
    assert len(lines) > before + 50  # it never stopped: 20 s at the least, five lines a second
    kube.until(lambda: driver.is_ready("node-2"), "the driver of node-2 is ready")
    _works(kube, space, "node-2")


def test_the_out_of_service_taint_frees_what_a_dead_node_holds(
    driver: Release, cluster: Cluster, kube: Kube, space: str, back: None
) -> None:
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    volume = _volume(kube, "data", space)
    cluster.power_off(2)
    kube.until(lambda: not _is_ready(kube, "node-2"), "the death is noticed")
    kube("taint", "node", "node-2", "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    kube.gone("pod", "writer", space)
    kube.until(lambda: not _attachments(kube, volume), "the volume is detached", 120)
    kube("taint", "node", "node-2", "node.kubernetes.io/out-of-service-")
    # the node was not there to hear of it: back again, it must not hold on to what nobody has
    cluster.power_on(2)
    kube.until(lambda: driver.is_ready("node-2"), "node-2 is back")
    kube.delete("pvc", "data", space)
    kube.gone("pv", volume)


def test_a_deleted_node_does_not_keep_a_namespace_for_ever(
    driver: Release, cluster: Cluster, kube: Kube, space: str, back: None
) -> None:
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    kube.apply(snapshot("snap", space, "data"))

    def taken() -> bool:
        found = kube.get("volumesnapshot", "snap", space)
        return bool(found and found.get("status", {}).get("readyToUse"))

    kube.until(taken, "the snapshot is ready")
    volume = _volume(kube, "data", space)
    found = kube.get("pv", volume)
    assert found
    kube.delete("pod", "writer", space)  # attached, Kubernetes itself would wait for six minutes
    kube.until(lambda: not _attachments(kube, volume), "the volume is detached")
    cluster.power_off(2)
    kube.delete("node", "node-2")
    kube.delete("namespace", space, wait=False)
    kube.gone("namespace", space, seconds=240)
    kube.gone("pv", volume)
    assert not [one for one in kube.every("volumesnapshotcontents") if _of(one, space)]
    handle = found["spec"]["csi"]["volumeHandle"]
    told = [one["message"] for one in kube.every("events", "default") if "message" in one]
    assert any(handle in one and "orphan" in one for one in told)
    cluster.power_on(2)
    driver.ready()
    _delete_orphans(driver, cluster, kube)


def _delete_orphans(driver: Release, cluster: Cluster, kube: Kube) -> None:
    """What was forgotten with node-2, by the documented commands."""
    found = driver.driver_pod("node-2")
    assert found
    name = found["metadata"]["name"]
    section = ("install.md", "Orphans")
    for kind, key, call in (
        ("snapshots", "snapshot_id", "DeleteSnapshot"),
        ("volumes", "volume_id", "DeleteVolume"),
    ):
        words = ("-n", SPACE, "exec", name, "--", "cellar")
        for one in json.loads(kube(*words, kind, "-o", "json")):
            if kind == "volumes":
                variables = {"DRIVER": name, "ID": one["id"]}
                type_in(cluster, block(*section, "DeleteVolume"), variables)
            else:
                kube(*words, "call", call, json.dumps({key: one["id"]}))


def _works(kube: Kube, space: str, node: str) -> None:
    """A new volume on a node, and away with it."""
    name = f"new-{node}"
    kube.apply(claim(name, space), pod(name, space, {name: "/data"}, node=node))
    kube.running(name, space)
    kube.delete("pod", name, space)
    kube.delete("pvc", name, space)


def _is_ready(kube: Kube, node: str) -> bool:
    found = kube.get("node", node)
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _volume(kube: Kube, name: str, space: str) -> str:
    found = kube.get("pvc", name, space)
    assert found
    return str(found["spec"]["volumeName"])


def _attachments(kube: Kube, volume: str) -> list[object]:
    found = kube.every("volumeattachments")
    return [one for one in found if one["spec"]["source"].get("persistentVolumeName") == volume]


def _of(content: object, space: str) -> bool:
    return isinstance(content, dict) and content["spec"]["volumeSnapshotRef"]["namespace"] == space
