"""A disk moves from a dead machine to a living one, by the commands of docs/install.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import RUN, Cluster, CommandError, Kube
from tests.e2e.documents import block, type_in
from tests.e2e.objects import claim, pod
from tests.e2e.release import POOL, SPACE, VALUES, Release

SECTION = ("install.md", "A disk that moves to another machine")
MOVED = "/var/lib/cellar/pools/moved"
DISK = f"{RUN}/node-2/pool.img"
POOLS = [*VALUES["pools"], {"name": "moved", "type": "loopfile", "where": MOVED}]


@pytest.fixture
def moved_back(driver: Release, cluster: Cluster, kube: Kube) -> Iterator[None]:
    """Whatever happened: the disk is in its machine again, and that is up."""
    yield
    driver.install()
    driver.rolled_out("daemonset/cellar-node")
    cluster.run("bash", "-c", f"! mountpoint -q {MOVED} || umount {MOVED}")
    held = ("losetup", "--noheadings", "--output", "NAME", "--associated", DISK)
    try:
        kube.until(lambda: not cluster.run(*held).strip(), "without the pool nobody has its disk")
    finally:
        cluster.power_on(2)
        kube.until(lambda: kube.get("node", "node-2"), "node-2 is back")
        driver.ready()


def test_a_disk_moves_with_its_volumes(
    driver: Release, cluster: Cluster, kube: Kube, space: str, moved_back: None
) -> None:
    for name in ("data", "raw"):
        mode = "Block" if name == "raw" else "Filesystem"
        path = "/dev/raw" if name == "raw" else "/data"
        kube.apply(
            claim(name, space, volumeMode=mode), pod(name, space, {name: path}, node="node-2")
        )
        kube.running(name, space)
    kube.shell("data", space, "echo kept > /data/a && sync /data/a")
    kube.shell("raw", space, "printf bytes | dd of=/dev/raw conv=fsync bs=512 seek=8 2>&1")
    handles = {name: _handle(kube, name, space) for name in ("data", "raw")}
    variables = {"OLD": "node-2", "NEW": "node-1", "POOL": handles["data"].partition("-")[0]}
    cluster.power_off(2)
    remembered = type_in(cluster, block(*SECTION, "configmap"), variables)
    assert variables["POOL"] in remembered
    for word in ("Retain", "taint"):
        type_in(cluster, block(*SECTION, word), variables)
    assert kube.every("pods", space) == []
    assert kube.every("pvc", space) == []

    cluster.run("bash", "-c", f"mkdir -p {MOVED} && mount -o loop {DISK} {MOVED}")
    driver.install(pools=POOLS)
    driver.rolled_out("daemonset/cellar-node")
    kube.until(lambda: _has_pool(driver, kube, variables["POOL"]), "node-1 has the pool", 60)
    type_in(cluster, block(*SECTION, "apply"), variables)
    kube.apply(
        pod("data-again", space, {"data": "/data"}), pod("raw-again", space, {"raw": "/dev/raw"})
    )
    for name in ("data-again", "raw-again"):
        assert kube.running(name, space)["spec"]["nodeName"] == "node-1"
    assert kube.shell("data-again", space, "cat /data/a") == "kept"
    found = kube.shell("raw-again", space, "dd if=/dev/raw bs=1 skip=4096 count=5 2>/dev/null")
    assert found == "bytes"
    assert {name: _handle(kube, name, space) for name in handles} == handles

    type_in(cluster, block(*SECTION, '"Delete"'), variables)
    for name in handles:
        kube.delete("pod", f"{name}-again", space)
        volume = _volume(kube, name, space)
        kube.delete("pvc", name, space)
        kube.gone("pv", volume)
    left = cluster.run("find", MOVED, "-mindepth", "1", "-maxdepth", "1").split()
    assert [one for one in left if not one.endswith(".cellar-pool.json")] == []


def test_an_orphan_goes_by_the_documented_commands(
    driver: Release, cluster: Cluster, kube: Kube, space: str
) -> None:
    """A PersistentVolume whose finalizers somebody took off while it was attached."""
    section = ("install.md", "Orphans")
    kube.apply(claim("data", space), pod("writer", space, {"data": "/data"}, node="node-1"))
    kube.running("writer", space)
    volume, handle = _volume(kube, "data", space), _handle(kube, "data", space)
    attached = [one["metadata"]["name"] for one in _attachments(kube, volume)]
    kube.delete("pv", volume, wait=False)
    kube("patch", "pv", volume, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kube.gone("pv", volume)
    found = driver.driver_pod("node-1")
    assert found
    variables = {"DRIVER": found["metadata"]["name"], "ID": handle, "ATTACHMENT": attached[0]}
    listed = type_in(cluster, block(*section, "cellar volumes"), variables)
    assert listed.count(handle) == 1, "the driver has it, no PersistentVolume has"
    with pytest.raises(CommandError, match="FAILED_PRECONDITION"):
        type_in(cluster, block(*section, "DeleteVolume"), variables)
    kube.delete("pod", "writer", space)
    kube.delete("pvc", "data", space)
    kube.until(lambda: handle not in cluster.run("cat", "/proc/self/mountinfo"), "unstaged")
    type_in(cluster, block(*section, "DeleteVolume"), variables)
    assert handle not in cluster.run("ls", POOL)
    type_in(cluster, block(*section, "ATTACHMENT"), variables)
    kube.gone("volumeattachment", attached[0])


def _has_pool(driver: Release, kube: Kube, pool: str) -> bool:
    found = driver.driver_pod("node-1")
    if not found:
        return False
    name = found["metadata"]["name"]
    try:
        return pool in kube("-n", SPACE, "exec", name, "--", "cellar", "pools", "-o", "json")
    except CommandError:
        return False


def _volume(kube: Kube, name: str, space: str) -> str:
    found = kube.get("pvc", name, space)
    assert found
    return str(found["spec"]["volumeName"])


def _handle(kube: Kube, name: str, space: str) -> str:
    found = kube.get("pv", _volume(kube, name, space))
    assert found
    return str(found["spec"]["csi"]["volumeHandle"])


def _attachments(kube: Kube, volume: str) -> list[dict[str, dict[str, str]]]:
    found = kube.every("volumeattachments")
    return [one for one in found if one["spec"]["source"].get("persistentVolumeName") == volume]
