"""Snapshots, restores, clones and groups, through the real snapshot controller."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.cluster import Kube
from tests.e2e.objects import (
    claim,
    from_claim,
    from_snapshot,
    group_snapshot,
    pod,
    snapshot,
)
from tests.e2e.release import SPACE, Release

# A copy lives where its source does, and the scheduler does not know that: docs/install.md
HERE = "node-1"
HOST = "kubernetes.io/hostname"


@pytest.mark.smoke
def test_a_restore_has_what_the_snapshot_had(driver: Release, kube: Kube, space: str) -> None:
    _written(kube, space, "before")
    kube.apply(snapshot("snap", space, "data"))
    _usable(kube, "snap", space)
    kube.shell("writer", space, "echo after > /data/a && sync /data/a")
    source = claim("restored", space, dataSource=from_snapshot("snap"))
    kube.apply(source, pod("reader", space, {"restored": "/data"}, node=HERE))
    kube.running("reader", space)
    assert kube.shell("reader", space, "cat /data/a") == "before"
    assert kube.shell("writer", space, "cat /data/a") == "after"


def test_a_pod_that_may_go_anywhere_follows_a_restore(
    driver: Release, kube: Kube, space: str
) -> None:
    """The scheduler would rather have it elsewhere, and does not know where the snapshot is."""
    _written(kube, space, "here")
    kube.apply(snapshot("snap", space, "data"))
    _usable(kube, "snap", space)
    rather = {"matchExpressions": [{"key": HOST, "operator": "NotIn", "values": [HERE]}]}
    wish = {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": rather}]
    }
    kube.apply(
        claim("restored", space, dataSource=from_snapshot("snap")),
        pod("reader", space, {"restored": "/data"}, affinity={"nodeAffinity": wish}),
    )
    kube.running("reader", space)
    assert kube.shell("reader", space, "cat /data/a") == "here"


@pytest.mark.smoke
def test_a_clone_is_independent_of_its_source(driver: Release, kube: Kube, space: str) -> None:
    _written(kube, space, "same")
    kube.apply(
        claim("twin", space, dataSource=from_claim("data")),
        pod("reader", space, {"twin": "/data"}, node=HERE),
    )
    kube.running("reader", space)
    assert kube.shell("reader", space, "cat /data/a && echo other > /data/a") == "same"
    assert kube.shell("writer", space, "cat /data/a") == "same"


def test_a_group_snapshot_has_every_member_of_one_moment(
    driver: Release, kube: Kube, space: str
) -> None:
    labelled = [claim(name, space) for name in ("left", "right")]
    for one in labelled:
        one["metadata"]["labels"] = {"set": "both"}
    # the right one is written after the left one, so at any moment it is behind by one at most
    script = (
        "i=0; while :; do i=$((i+1)); echo $i > /left/n; sync /left/n;"
        " echo $i > /right/n; sync /right/n; done"
    )
    pair = {"left": "/left", "right": "/right"}
    kube.apply(*labelled, pod("writer", space, pair, script=script, node=HERE))
    kube.running("writer", space)
    kube.apply(group_snapshot("both", space, {"set": "both"}))

    def ready() -> Any | None:
        found = kube.get("volumegroupsnapshot", "both", space)
        return found if found and found.get("status", {}).get("readyToUse") else None

    kube.until(ready, "the group snapshot is ready")
    members = kube.every("volumesnapshots", space)
    sources = {_source(kube, one): one["metadata"]["name"] for one in members}
    assert set(sources) == {"left", "right"}
    controller = ("-n", SPACE, "exec", "deploy/cellar-controller", "-c", "cellar", "--", "cellar")
    rows = json.loads(kube(*controller, "snapshots", "--namespace", space, "-o", "json"))
    assert [row["volume_snapshot"] for row in rows] == ["both", "both"]
    for side, name in sources.items():
        kube.apply(claim(f"{side}-again", space, dataSource=from_snapshot(name)))
    again = {"left-again": "/left", "right-again": "/right"}
    kube.apply(pod("reader", space, again, node=HERE))
    kube.running("reader", space)
    left, right = (int(kube.shell("reader", space, f"cat /{side}/n")) for side in ("left", "right"))
    assert left - right in {0, 1}
    assert left > 0


def _written(kube: Kube, space: str, text: str) -> None:
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node=HERE))
    kube.running("writer", space)
    kube.shell("writer", space, f"echo {text} > /data/a && sync /data/a")


def _usable(kube: Kube, name: str, space: str) -> None:
    def usable() -> bool:
        found = kube.get("volumesnapshot", name, space)
        return bool(found and found.get("status", {}).get("readyToUse"))

    kube.until(usable, f"snapshot {name} is ready to use")


def _source(kube: Kube, member: Any) -> str:
    """The claim that a member of a group was taken of."""
    found = kube.get("volumesnapshotcontent", member["status"]["boundVolumeSnapshotContentName"])
    assert found
    handle = found["spec"]["source"].get("volumeHandle") or found["status"].get("volumeHandle")
    if handle is None:
        return str(member["spec"]["source"]["persistentVolumeClaimName"])
    for volume in kube.every("pv"):
        if volume["spec"]["csi"]["volumeHandle"] == handle:
            return str(volume["spec"]["claimRef"]["name"])
    raise AssertionError(f"no volume {handle}")
