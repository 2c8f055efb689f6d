"""Volumes that grow, and that are told other limits, while a pod writes to them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.cluster import Kube
from tests.e2e.objects import claim, pod
from tests.e2e.release import Release

MIB = 1 << 20


@pytest.mark.smoke
def test_a_volume_grows_below_a_running_pod(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(
        claim("data", space, of="cellar-xfs", size="320Mi"), pod("writer", space, {"data": "/data"})
    )
    kube.running("writer", space)
    before = _blocks(kube, space)
    _change(kube, space, {"resources": {"requests": {"storage": "512Mi"}}})
    kube.until(lambda: _capacity(kube, space) == "512Mi", "the claim says its new size")
    kube.until(lambda: _blocks(kube, space) - before > 180 * MIB, "the filesystem is larger")
    assert kube.running("writer", space)["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_block_volume_grows_below_a_running_pod(driver: Release, kube: Kube, space: str) -> None:
    kube.apply(
        claim("data", space, volumeMode="Block"), pod("writer", space, {"data": "/dev/disk"})
    )
    kube.running("writer", space)
    _change(kube, space, {"resources": {"requests": {"storage": "96Mi"}}})
    kube.until(lambda: _capacity(kube, space) == "96Mi", "the claim says its new size")
    size = kube.shell("writer", space, "blockdev --getsize64 /dev/disk")
    assert int(size) == 96 * MIB


def test_a_growth_that_cannot_be_is_said_and_can_be_taken_back(
    driver: Release, kube: Kube, space: str
) -> None:
    kube.apply(
        claim("data", space, of="cellar-xfs", size="320Mi"), pod("writer", space, {"data": "/data"})
    )
    kube.running("writer", space)
    _change(kube, space, {"resources": {"requests": {"storage": "1Ti"}}})

    def infeasible() -> bool:
        found = kube.get("pvc", "data", space)
        states = (found or {}).get("status", {}).get("allocatedResourceStatuses", {})
        return str(states.get("storage", "")).endswith("Infeasible")

    kube.until(infeasible, "the claim says that its size is infeasible")
    assert kube.shell("writer", space, "echo on > /data/a && cat /data/a") == "on"
    _change(kube, space, {"resources": {"requests": {"storage": "352Mi"}}})
    kube.until(lambda: _capacity(kube, space) == "352Mi", "the claim has the smaller size")


def test_limits_change_below_a_running_pod_or_are_refused_with_the_cure(
    driver: Release, kube: Kube, space: str
) -> None:
    """On a machine with control groups of version 1 only that they are refused can be shown."""
    kube.apply(
        claim("data", space, of="cellar-now", volumeAttributesClassName="free"),
        pod("writer", space, {"data": "/data"}),
    )
    kube.running("writer", space)
    _change(kube, space, {"volumeAttributesClassName": "slow"})
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        cure = "control groups of version 2"
        kube.until(
            lambda: any(cure in one for one in kube.events(space, "data")), "an event has the cure"
        )
        assert _attributes_class(kube, space) == "free"
        assert not any("VolumeModifySuccessful" in one for one in kube.events(space, "data"))
        return
    kube.until(lambda: _attributes_class(kube, space) == "slow", "the claim has its new class")
    begun = time.monotonic()
    kube.shell("writer", space, "dd if=/dev/zero of=/data/a bs=1M count=16 conv=fsync")
    assert time.monotonic() - begun > 16 / 4 * 0.85
    _change(kube, space, {"volumeAttributesClassName": "free"})
    kube.until(lambda: _attributes_class(kube, space) == "free", "the claim has its first class")


def _attributes_class(kube: Kube, space: str) -> str | None:
    """The class whose attributes the volume has."""
    found = kube.get("pvc", "data", space)
    assert found
    name: str | None = found["status"].get("currentVolumeAttributesClassName")
    return name


def _change(kube: Kube, space: str, spec: dict[str, object]) -> None:
    kube("-n", space, "patch", "pvc", "data", "-p", json.dumps({"spec": spec}))


def _capacity(kube: Kube, space: str) -> str:
    found = kube.get("pvc", "data", space)
    assert found
    return str(found["status"]["capacity"]["storage"])


def _blocks(kube: Kube, space: str) -> int:
    """Bytes of the filesystem in the pod."""
    size, count = kube.shell("writer", space, "stat -f -c '%S %b' /data").split()
    return int(size) * int(count)
