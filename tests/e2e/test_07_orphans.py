"""A volume whose PersistentVolume is gone: it is found, kept, and used again by another claim."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import SPACE, Release

PLUGIN = (sys.executable, "-m", "driver.cli.kubectl.plugin", "--driver-namespace", SPACE)
CONTROLLER = "deployment/cellar-controller"


@pytest.fixture
def hasty(driver: Release, kube: Kube) -> Iterator[None]:
    """A controller that counts a volume as an orphan after seconds, not after ten minutes."""
    words = ("-n", SPACE, "set", "env", CONTROLLER, "-c", "cellar")
    kube(*words, "CELLAR_ORPHANS_AFTER=12s")
    driver.rolled_out(CONTROLLER)
    yield
    kube(*words, "CELLAR_ORPHANS_AFTER-")
    driver.rolled_out(CONTROLLER)


def listed(cluster: Cluster, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(cluster.run(*PLUGIN, "volumes", *options, "-o", "json"))
    return rows


def orphans(cluster: Cluster) -> list[str]:
    return [row["id"] for row in listed(cluster, "--orphans")]


def again(volume: dict[str, Any], space: str, name: str) -> dict[str, Any]:
    """The PersistentVolume without what was given to it, for another claim."""
    kept = ("csi", "capacity", "accessModes", "nodeAffinity", "storageClassName", "volumeMode")
    spec = {key: volume["spec"][key] for key in kept if key in volume["spec"]}
    spec["persistentVolumeReclaimPolicy"] = "Delete"
    spec["claimRef"] = {"namespace": space, "name": name}
    provisioner = {"pv.kubernetes.io/provisioned-by": volume["spec"]["csi"]["driver"]}
    metadata = {"name": f"again-{space}", "annotations": provisioner}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


@pytest.mark.usefixtures("hasty")
def test_a_volume_without_a_persistentvolume_is_found_and_used_again(
    cluster: Cluster, kube: Kube, space: str
) -> None:
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    kube.shell("writer", space, "echo bytes > /data/a && sync /data/a")
    bound = kube.get("pvc", "data", space)
    assert bound
    name = bound["spec"]["volumeName"]
    volume = kube.get("pv", name)
    assert volume
    handle = volume["spec"]["csi"]["volumeHandle"]
    assert handle not in orphans(cluster)
    kube("patch", "pv", name, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    kube.delete("pod", "writer", space)
    kube.delete("pvc", "data", space)
    kube.delete("pv", name)
    kube.until(lambda: handle in orphans(cluster), "the volume is found")

    kube.apply(
        again(volume, space, "restored"), claim("restored", space, volumeName=f"again-{space}")
    )
    kube.apply(pod("reader", space, {"restored": "/data"}, node="node-2"))
    kube.running("reader", space)
    assert kube.shell("reader", space, "cat /data/a") == "bytes"
    kube.until(lambda: handle not in orphans(cluster), "it is no orphan any more")

    def renamed() -> bool:
        rows = listed(cluster, "--namespace", space)
        return [(row["id"], row["claim"]) for row in rows] == [(handle, "restored")]

    kube.until(renamed, "it has the name of its claim")
    kube.delete("pod", "reader", space)
    kube.delete("pvc", "restored", space)
    kube.gone("pv", f"again-{space}")
    kube.until(lambda: listed(cluster, "--namespace", space) == [], "it is deleted")
