"""Uninstalled and installed again, without csi-attacher this time: volumes are found again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e import page, release
from tests.e2e.cluster import Cluster, Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import DRIVER, SPACE, Release


@pytest.fixture
def detached(driver: Release, kube: Kube) -> Iterator[None]:
    """Afterwards the release is as it was, if others are to use it: the last file does not mind."""
    yield
    if not release.keep_going():
        return
    driver.uninstall()
    kube.until(lambda: not kube.every("pods", SPACE), "the pods are gone")
    driver.ready()


def test_a_release_without_attaching_takes_over_what_one_with_it_made(
    driver: Release, cluster: Cluster, kube: Kube, space: str, detached: None
) -> None:
    kube.apply(claim("data", space), pod("before", space, {"data": "/data"}, node="node-2"))
    kube.running("before", space)
    kube.shell("before", space, "echo kept > /data/a && sync /data/a")
    kube.delete("pod", "before", space)
    kube.until(lambda: not _attached(kube), "everything is detached")
    driver.uninstall()
    kube.until(lambda: not kube.every("pods", SPACE), "the pods are gone")
    assert kube.phase("pvc", "data", space) == "Bound"
    driver.install(attach={"enabled": False}, page={"enabled": True})
    driver.ready()
    kube.apply(pod("after", space, {"data": "/data"}), claim("more", space))
    kube.running("after", space)
    assert kube.shell("after", space, "cat /data/a") == "kept"
    row = f'"namespace":"{space}","claim":"data"'
    # From containers of their own. A new router does not know its nodes' addresses at once.
    kube.until(lambda: row in page.events(cluster), "the router's page shows the claim")
    assert row in page.events(cluster, "--node", "node-2")
    kube.apply(pod("other", space, {"more": "/data"}))
    kube.running("other", space)
    assert _attached(kube) == []
    for name in ("after", "other"):
        kube.delete("pod", name, space)
    for name in ("data", "more"):
        found = kube.get("pvc", name, space)
        assert found
        volume = found["spec"]["volumeName"]
        _forget_the_attacher(kube, volume)
        kube.delete("pvc", name, space)
        kube.gone("pv", volume)


def _forget_the_attacher(kube: Kube, volume: str) -> None:
    """Its finalizer is its own to take off, and it is not there any more: docs/install.md."""
    found = kube.get("pv", volume)
    assert found
    kept = [one for one in found["metadata"]["finalizers"] if not one.startswith("external-attach")]
    change = {"metadata": {"finalizers": kept}}
    kube("patch", "pv", volume, "--type=merge", "-p", json.dumps(change))


def _attached(kube: Kube) -> list[object]:
    found = kube.every("volumeattachments")
    return [one for one in found if one["spec"]["attacher"] == DRIVER]
