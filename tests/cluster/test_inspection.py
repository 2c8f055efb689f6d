"""What a person asks of a router: its nodes, a volume of any of them, the calls that it passed on."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from typing import Any

from csi_proto import csi_pb2 as csi
from tests.cluster.machines import RoutedCluster, create, on
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until


def asked(driver: DriverProcess, *words: str) -> Any:
    command = [sys.executable, "-m", "driver", *words, "-o", "json"]
    command += ["--endpoint", driver.endpoint]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_a_volume_is_described_by_the_node_that_has_it(cluster: RoutedCluster) -> None:
    volume = create(cluster.router, "described", accessibility_requirements=on("b"))
    [row] = asked(cluster.router, "describe", "described")
    assert (row["id"], row["node"]) == (volume.volume_id, "b")


def test_calls_of_a_router_have_the_answers_of_its_nodes(cluster: RoutedCluster) -> None:
    volume = create(cluster.router, "seen")
    request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    cluster.router.controller.ControllerGetVolume(request)
    call = asked(cluster.router, "calls", "--about", volume.volume_id)[-1]
    assert call["rpc"] == "ControllerGetVolume"
    assert call["response"]["volume"]["volume_id"] == volume.volume_id


def test_a_node_that_is_not_reached_is_listed_with_the_reason(cluster: RoutedCluster) -> None:
    before = {row["name"]: row for row in asked(cluster.router, "nodes")}
    assert all(row["reachable"] and not row["problem"] for row in before.values())
    cluster.nodes["b"].kill()
    try:
        wait_until(lambda: not _node(cluster, "b")["reachable"])
        lost = _node(cluster, "b")
        assert lost["problem"]
        assert lost["pools"] == before["b"]["pools"]
    finally:
        cluster.nodes["b"].start()
        wait_until(lambda: _node(cluster, "b")["reachable"])


def test_the_page_of_a_router_shows_all_nodes_and_which_one_is_lost(cluster: RoutedCluster) -> None:
    words = ["page", "--endpoint", cluster.router.endpoint, "--listen", "127.0.0.1:0"]
    command = [sys.executable, "-u", "-m", "driver", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
        try:
            assert page.stdout
            address = page.stdout.readline().split()[0]
            with urllib.request.urlopen(f"{address}events", timeout=60) as events:
                pools = _next_rows(events, "pools")
                assert {row["node"] for row in pools} == set(cluster.nodes)
                cluster.nodes["b"].kill()
                [lost] = _next_rows(events, "conditions")
                assert (lost["alert"], lost["node"]) == ("CellarNodeUnavailable", "b")
        finally:
            page.terminate()
            cluster.nodes["b"].start()
            wait_until(lambda: _node(cluster, "b")["reachable"])


def _next_rows(events: Iterable[bytes], name: str) -> list[Any]:
    """The rows of the next event of this name that has any."""
    lines = iter(events)
    for line in lines:
        if line == f"event: {name}\n".encode():
            value = json.loads(next(lines).partition(b": ")[2])
            if value.get("rows"):
                return [*value["rows"].values()]
    raise AssertionError(f"no {name}")


def _node(cluster: RoutedCluster, name: str) -> Any:
    return next(row for row in asked(cluster.router, "nodes") if row["name"] == name)
