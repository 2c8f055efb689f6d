"""Two nodes with different pools: a class's volumes land where its pool is; a node moves by its label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.e2e.cluster import Cluster, CommandError, Kube
from tests.e2e.objects import WRITER, claim, pod
from tests.e2e.release import NODES, SPACE, VALUES, Release

SLOW: Final = "/var/lib/cellar/pools/slow"
IMAGE: Final = "/var/lib/cellar/slow.img"
LABEL: Final = "example.com/disks"
GROUPS: Final = [
    {
        "name": "slow",
        "nodeSelector": {LABEL: "slow"},
        "pools": [{"name": "slow", "type": "loopfile", "where": SLOW}],
    }
]
CLASSES: Final = [
    *VALUES["storageClasses"],
    {"name": "only-fast", "parameters": {"pool": "fast"}},
    {"name": "only-slow", "parameters": {"pool": "slow"}},
]


@pytest.fixture
def groups(driver: Release, cluster: Cluster, kube: Kube) -> Iterator[Release]:
    """Both nodes are of the default group, with the pool `fast`; node-2 has a disk for `slow`."""
    script = f"mkdir -p {SLOW} && truncate -s 2G {IMAGE} && mkfs.ext4 -q {IMAGE}"
    cluster.run("bash", "-c", f"{script} && mount -o loop {IMAGE} {SLOW}", node=2)
    driver.install(nodeGroups=GROUPS, storageClasses=CLASSES)
    driver.rolled_out("daemonset/cellar-node")
    yield driver
    kube("label", "node", "node-2", f"{LABEL}-")
    driver.install()
    kube("delete", "storageclass", "only-fast", "only-slow", "--ignore-not-found")
    driver.rolled_out("daemonset/cellar-node")
    driver.ready()
    unmount = f"! mountpoint -q {SLOW} || umount {SLOW}"

    def is_free() -> bool:
        try:
            cluster.run("bash", "-c", f"{unmount}; rm -rf {IMAGE}; rmdir {SLOW}", node=2)
        except CommandError:
            return False
        return not cluster.run("losetup", "-nl", "-O", "NAME", "-j", IMAGE, node=2).strip()

    kube.until(is_free, "nobody has the disk of the group")


def test_volumes_land_where_the_pool_of_their_class_is(
    groups: Release, kube: Kube, space: str
) -> None:
    before = kube.get("daemonset", "cellar-node", SPACE)
    kube.apply(
        claim("old", space, of="only-fast"),
        pod("old", space, {"old": "/data"}, script=WRITER, node="node-2"),
    )
    kube.running("old", space)
    assert set(_with_room(groups, "only-fast")) == set(NODES)
    assert _with_room(groups, "only-slow") == []

    _move(groups, kube, "cellar-node-slow")
    kube.until(lambda: _with_room(groups, "only-slow") == ["node-2"], "slow is on node-2 only")
    kube.until(lambda: _with_room(groups, "only-fast") == ["node-1"], "fast is on node-1 only")
    for name, node in (("fast", "node-1"), ("slow", "node-2")):
        kube.apply(claim(name, space, of=f"only-{name}"), pod(name, space, {name: "/data"}))
        assert kube.running(name, space)["spec"]["nodeName"] == node
    lines = len(_lines(kube, space))
    kube.until(lambda: len(_lines(kube, space)) > lines, "a pod of the former pool writes on")
    after = kube.get("daemonset", "cellar-node", SPACE)
    assert before and after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]

    for name in ("fast", "slow"):
        kube.delete("pod", name, space)
        kube.delete("pvc", name, space)
    kube.until(lambda: not _volumes(kube, space, but="old"), "what the groups made is deleted")
    _move(groups, kube, "cellar-node")
    kube.delete("pod", "old", space)
    kube.apply(pod("again", space, {"old": "/data"}))
    assert kube.running("again", space, 150)["spec"]["nodeName"] == "node-2"
    assert kube.shell("again", space, "tail -n1 /data/log") == str(
        len(kube.shell("again", space, "cat /data/log").split())
    )
    kube.delete("pod", "again", space)
    kube.delete("pvc", "old", space)


def _move(groups: Release, kube: Kube, daemonset: str) -> None:
    """Move node-2 by its label; until the pod of that DaemonSet is ready there, never restarted."""
    word = f"{LABEL}=slow" if daemonset.endswith("slow") else f"{LABEL}-"
    kube("label", "node", "node-2", word)

    def is_there() -> Any:
        found = groups.driver_pod("node-2")
        owners = (found or {}).get("metadata", {}).get("ownerReferences") or [{}]
        return owners[0].get("name") == daemonset and groups.is_ready("node-2") and found

    found = kube.until(is_there, f"{daemonset} has node-2", 120)
    assert [one["restartCount"] for one in found["status"]["containerStatuses"]] == [0]


def _with_room(groups: Release, storage_class: str) -> list[str]:
    return sorted(node for node, size in groups.room(storage_class).items() if size)


def _lines(kube: Kube, space: str) -> list[str]:
    return kube.shell("old", space, "cat /data/log").split()


def _volumes(kube: Kube, space: str, *, but: str) -> list[str]:
    """The PersistentVolumes of the test's claims, without one."""
    claims = [one["spec"].get("claimRef", {}) for one in kube.every("persistentvolumes")]
    return [one["name"] for one in claims if one.get("namespace") == space and one["name"] != but]
