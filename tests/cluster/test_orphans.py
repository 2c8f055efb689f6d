"""A router compares the volumes of its nodes with the PersistentVolumes in an API server."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import kube
from tests.cluster.kube_machines import Kubernetes, KubernetesRouter, kubernetes
from tests.cluster.machines import create
from tests.cluster.test_kubernetes import placed
from tests.support.ports import free_port
from tests.support.waiting import wait_until

VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
def world(where: Path) -> Iterator[Kubernetes]:
    with kubernetes(where) as each:
        yield each


def persistent_volume(world: Kubernetes, name: str, handle: str, claim: str = "") -> None:
    """A PersistentVolume of this driver, bound to the claim shop/`claim`."""
    reference = {"claimRef": {"namespace": "shop", "name": claim, "uid": "u-1"}} if claim else {}
    source = {"csi": {"driver": kube.DRIVER, "volumeHandle": handle}}
    world.api.put(VOLUMES, name, spec={**source, **reference})


def volumes(router: KubernetesRouter, *options: str) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "driver", "volumes", *options, "-o", "json"]
    said = subprocess.run(
        [*words, "--endpoint", router.endpoint], check=True, capture_output=True, text=True
    )
    rows: list[dict[str, Any]] = json.loads(said.stdout)
    return rows


def orphans(router: KubernetesRouter) -> list[str]:
    return [row["id"] for row in volumes(router, "--orphans")]


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_volume_that_no_persistentvolume_names_is_found_and_kept(world: Kubernetes) -> None:
    port = free_port()
    router = world.router("--orphans-after", "2s", "--metrics", f"127.0.0.1:{port}")
    world.node("a")
    lost, kept = placed(router, "lost", "a").volume_id, create(router, "kept").volume_id
    persistent_volume(world, "kept", kept, "data")
    wait_until(lambda: orphans(router) == [lost], 30)
    assert 'cellar_orphan_volumes{node="a",pool="sim"} 1.0' in metrics(port)
    persistent_volume(world, "again", lost, "found")
    wait_until(lambda: orphans(router) == [], 30)
    assert 'cellar_orphan_volumes{node="a",pool="sim"} 0.0' in metrics(port)
    assert router.volumes() == sorted([lost, kept])
    wait_until(
        lambda: (
            {(row["id"], row["claim"]) for row in volumes(router)}
            == {(lost, "found"), (kept, "data")}
        )
    )
    assert not [
        asked for asked in world.api.asked if "persistentvolumes" in asked and "GET" not in asked
    ]


def test_no_volume_is_an_orphan_while_kubernetes_does_not_answer(world: Kubernetes) -> None:
    router = world.router("--orphans-after", "2s")
    world.node("a")
    volume = placed(router, "v", "a").volume_id
    persistent_volume(world, "v", volume)
    asked = len(world.api.asked)
    wait_until(lambda: any(VOLUMES in each for each in world.api.asked[asked:]))
    world.api.refuse = VOLUMES
    asked = len(world.api.asked)
    wait_until(lambda: sum(VOLUMES in each for each in world.api.asked[asked:]) > 3)
    assert orphans(router) == []
