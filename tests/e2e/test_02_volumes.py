"""Volumes on their ordinary way: from a claim to a pod that writes."""

from __future__ import annotations

import pytest

from tests.e2e import objects
from tests.e2e.cluster import Kube
from tests.e2e.objects import ENDLESS, claim, pod
from tests.e2e.release import DRIVER, NODES, Release

SCRATCH = {"name": "scratch", "mountPath": "/data"}


@pytest.mark.smoke
def test_a_claim_waits_for_its_pod_and_follows_it(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(claim("data", space))
    assert kube.phase("pvc", "data", space) == "Pending"
    kube.apply(pod("writer", space, {"data": "/data"}, node="node-2"))
    kube.running("writer", space)
    assert kube.shell("writer", space, "echo here > /data/a && cat /data/a") == "here"
    assert kube.shell("writer", space, "stat -f -c %T /data") == "ext2/ext3"
    assert _node_of(kube, "data", space) == "node-2"
    attached = [
        one["spec"]["nodeName"]
        for one in kube.every("volumeattachments")
        if one["spec"]["source"]["persistentVolumeName"] == _volume(kube, "data", space)
    ]
    assert attached == ["node-2"]


def test_the_data_outlives_the_pod(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(claim("data", space), pod("first", space, {"data": "/data"}))
    kube.running("first", space)
    kube.shell("first", space, "echo kept > /data/a && sync /data/a")
    kube.delete("pod", "first", space)
    kube.apply(pod("second", space, {"data": "/data"}))
    kube.running("second", space)
    assert kube.shell("second", space, "cat /data/a") == "kept"


def test_an_immediate_claim_is_bound_without_a_pod(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(claim("data", space, of="cellar-now"))
    kube.until(lambda: kube.phase("pvc", "data", space) == "Bound", "the claim is bound")
    assert _node_of(kube, "data", space) in NODES
    kube.apply(pod("writer", space, {"data": "/data"}))
    found = kube.running("writer", space)
    assert found["spec"]["nodeName"] == _node_of(kube, "data", space)


@pytest.mark.smoke
def test_a_raw_block_volume_keeps_its_bytes(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(
        claim("disk", space, volumeMode="Block"),
        pod("first", space, {"disk": "/dev/disk"}),
    )
    kube.running("first", space)
    assert kube.shell(
        "first", space, "cat /sys/block/loop*/size >/dev/null; wc -c < /dev/disk"
    ) == (str(64 << 20))
    kube.shell("first", space, "printf bytes | dd of=/dev/disk conv=fsync bs=512 seek=8 2>&1")
    kube.delete("pod", "first", space)
    kube.apply(pod("second", space, {"disk": "/dev/disk"}))
    kube.running("second", space)
    assert kube.shell("second", space, "dd if=/dev/disk bs=1 skip=4096 count=5 2>/dev/null") == (
        "bytes"
    )


def test_a_group_may_write_where_the_pod_says_so(driver: Release, kube: Kube, space: str) -> None:
    who = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, securityContext=who))
    kube.running("writer", space)
    assert kube.shell("writer", space, "echo mine > /data/a; stat -c %g /data/a") == "2000"


def test_a_volume_for_one_pod_refuses_the_second(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(
        claim("data", space, access="ReadWriteOncePod"), pod("first", space, {"data": "/data"})
    )
    kube.running("first", space)
    kube.apply(pod("second", space, {"data": "/data"}))

    def refused() -> bool:
        return any("ReadWriteOncePod" in one for one in kube.events(space, "second"))

    kube.until(refused, "an event says why")
    assert kube.phase("pod", "second", space) == "Pending"
    kube.delete("pod", "first", space)
    kube.running("second", space)


def test_an_ephemeral_volume_goes_with_its_pod(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(
        pod(
            "writer",
            space,
            {},
            script=f"echo x > /data/a; {ENDLESS}",
            volumes=objects.ephemeral("scratch"),
            mounts=[SCRATCH],
        )
    )
    kube.running("writer", space)
    volume = _volume(kube, "writer-scratch", space)
    kube.delete("pod", "writer", space)
    kube.gone("pvc", "writer-scratch", space)
    kube.gone("pv", volume)


def test_a_volume_that_stands_in_a_pod_goes_with_it(
    driver: Release, kube: Kube, space: str
) -> None:
    before = driver.inline_volumes("node-1")
    kube.apply(
        pod(
            "writer",
            space,
            {},
            node="node-1",
            volumes=objects.inline("scratch", size="64Mi"),
            mounts=[SCRATCH],
            securityContext={"fsGroup": 2000},
        )
    )
    kube.running("writer", space)
    assert kube.shell("writer", space, "ls -A /data") in {"", "lost+found"}
    assert kube.shell("writer", space, "stat -f -c %T /data") == "ext2/ext3"
    assert kube.shell("writer", space, "echo mine > /data/a; stat -c %g /data/a") == "2000"
    (volume,) = [one for one in driver.inline_volumes("node-1") if one not in before]
    assert volume["size_bytes"] == 64 << 20
    assert kube.every("pvc", space) == []
    kube.delete("pod", "writer", space)
    kube.until(lambda: driver.inline_volumes("node-1") == before, "the volume is gone")


def test_what_a_pod_may_not_say_of_its_volume_is_told_in_an_event(
    driver: Release, kube: Kube, space: str
) -> None:
    kube.apply(
        pod(
            "wrong",
            space,
            {},
            node="node-1",
            volumes=objects.inline("scratch", sized="64Mi"),
            mounts=[SCRATCH],
        )
    )

    def told() -> bool:
        return any("unknown 'sized'; accepted: size" in one for one in kube.events(space, "wrong"))

    kube.until(told, "an event says what is wrong, and what would be right")
    kube.delete("pod", "wrong", space)


def _volume(kube: Kube, name: str, space: str) -> str:
    found = kube.get("pvc", name, space)
    assert found
    return str(found["spec"]["volumeName"])


def _node_of(kube: Kube, name: str, space: str) -> str:
    """Where a claim's volume lives, as its PersistentVolume says."""
    found = kube.get("pv", _volume(kube, name, space))
    assert found and found["spec"]["csi"]["driver"] == DRIVER
    (term,) = found["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    (wanted,) = term["matchExpressions"]
    assert wanted["key"] == f"{DRIVER}/node"
    (node,) = wanted["values"]
    return str(node)
