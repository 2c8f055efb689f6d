"""From `helm install` with blank disks and a rule to a running pod: no command on a node.

The disks are loop devices, which have to be named; the kernel of these nodes has no device-mapper,
so the pools are of loop files. Volume groups by rule are in tests/lvm/test_disk_claims.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest
import yaml

from tests import documents
from tests.e2e.cluster import Cluster, Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import NODES, SPACE, VALUES, Release

LIMIT: Final = 60.0  # seconds
IMAGE: Final = "/var/lib/cellar/blank.img"
# What was once a pool's location never gets a blank disk again; the cluster may be an older one.
WHERE: Final = f"/var/lib/cellar/pools/blank-{random.randrange(1 << 32):08x}"
CLASS: Final = {"name": "blank", "parameters": {"pool": "fast"}}


def documented_pool() -> dict[str, Any]:
    """The pool as docs/install.md has it, for people whose disks are no loop devices."""
    read = documents.blocks(how="read", what="values")
    [text] = [
        block.text
        for block in read
        if block.document == "docs/install.md" and "claimBlankDisks" in block.text
    ]
    [pool] = yaml.safe_load(text)["pools"]
    assert pool["type"] == "loopfile"
    return dict(pool)


def pool_on(device: str) -> dict[str, Any]:
    """The same on a node whose blank disk is this loop device."""
    return documented_pool() | {"where": WHERE, "disk": device, "disks": {"path": device}}


@pytest.fixture
def blank_disks(driver: Release, cluster: Cluster, kube: Kube) -> Iterator[list[str]]:
    """Nothing is installed, and each node has a blank disk. Afterwards all is as before."""
    driver.uninstall()
    kube.until(lambda: not kube.every("pods", SPACE), "the pods are gone")
    make = f"mkdir -p /var/lib/cellar && truncate -s 1G {IMAGE} && losetup --find --show {IMAGE}"
    devices = [cluster.run("bash", "-c", make, node=node).strip() for node in (1, 2)]
    yield devices
    driver.uninstall()
    kube.until(lambda: not kube.every("pods", SPACE), "the pods are gone")
    kube.delete("storageclass", "blank")
    for node, device in enumerate(devices, 1):
        unmount = f"! mountpoint -q {WHERE} || umount {WHERE}"
        gone = f"{unmount}; losetup --detach {device}; rm {IMAGE}; rmdir {WHERE}"
        cluster.run("bash", "-c", gone, node=node)
    driver.ready()


def test_from_helm_install_with_blank_disks_to_a_running_pod(
    blank_disks: list[str], driver: Release, kube: Kube, space: str
) -> None:
    groups = [
        {
            "name": node,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "pools": [pool_on(device)],
        }
        for node, device in zip(NODES, blank_disks, strict=True)
    ]
    classes = [*VALUES["storageClasses"], CLASS]
    begun = time.monotonic()
    driver.install(nodeGroups=groups, storageClasses=classes)
    kube.apply(claim("data", space, of="blank"), pod("first", space, {"data": "/data"}))
    kube.running("first", space, LIMIT)
    took = time.monotonic() - begun
    kube.shell("first", space, "echo kept > /data/a && sync /data/a")
    print(f"from helm install to a running pod: {took:.1f} s")  # noqa: T201 - a figure
    assert took <= LIMIT

    kube.until(lambda: set(_with_space(driver)) == set(NODES), "both nodes have the pool")
    for node in NODES:
        kube.until(partial(_is_reported, kube, node), f"an Event says that {node} took its disk")
    assert kube.shell("first", space, "cat /data/a") == "kept"
    kube.delete("pod", "first", space)
    found = kube.get("pvc", "data", space)
    assert found
    kube.delete("pvc", "data", space)
    kube.gone("pv", found["spec"]["volumeName"])


def _is_reported(kube: Kube, node: str) -> bool:
    return any(event.startswith("BlankDiskClaimed") for event in kube.events("default", node))


def _with_space(driver: Release) -> list[str]:
    return [node for node, size in driver.room("blank").items() if size]
