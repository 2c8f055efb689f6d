"""Routers and nodes as processes, that find each other through an API server."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_proto import csi_pb2 as csi
from tests.cluster import kube
from tests.cluster.kube_machines import Kubernetes, kubernetes
from tests.cluster.machines import MOUNT, code_of, create, on
from tests.support.driver_process import DriverProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_until

Code = grpc.StatusCode
SOON = ("--node-gone-after", "1s")


@pytest.fixture
def world(where: Path) -> Iterator[Kubernetes]:
    with kubernetes(where) as each:
        yield each


def get(driver: DriverProcess, volume: csi.Volume) -> Code:
    request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    return code_of(lambda: driver.controller.ControllerGetVolume(request))


def delete(driver: DriverProcess, volume_id: str) -> None:
    driver.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=volume_id))


def publish(driver: DriverProcess, volume: csi.Volume, node: str) -> None:
    request = csi.ControllerPublishVolumeRequest(
        volume_id=volume.volume_id, node_id=node, volume_capability=MOUNT
    )
    driver.controller.ControllerPublishVolume(request)


def unpublish(driver: DriverProcess, volume: csi.Volume, node: str) -> Code:
    request = csi.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id, node_id=node)
    # Sidecars give each call a time: one that waits at a node which stopped is not ended otherwise.
    return code_of(lambda: driver.controller.ControllerUnpublishVolume(request, timeout=5))


def text_of(driver: DriverProcess, volume: csi.Volume) -> str:
    try:
        delete(driver, volume.volume_id)
    except grpc.RpcError as error:
        return str(error.details())
    return "deleted"


def placed(router: DriverProcess, name: str, node: str) -> csi.Volume:
    """Once the router knows that the node is there."""
    fields = {"accessibility_requirements": on(node)}
    wait_until(lambda: code_of(lambda: create(router, name, **fields)) is Code.OK)
    return create(router, name, **fields)


def test_a_cluster_begins_with_no_nodes_and_grows(world: Kubernetes) -> None:
    """No router is restarted; the certificates are there before the first node is."""
    router = world.router()
    assert router.volumes() == []
    assert code_of(lambda: create(router, "v")) is Code.UNAVAILABLE
    world.node("a")
    volume = placed(router, "v", "a")
    world.node("b")
    placed(router, "w", "b")
    late = world.router()
    wait_until(lambda: get(late, volume) is Code.OK)
    assert router.volumes() == late.volumes()


def test_a_node_that_is_not_ready_is_away_and_comes_back(world: Kubernetes) -> None:
    router = world.router(*SOON)
    node = world.node("a")
    volume = placed(router, "v", "a")
    port = node.arguments[1].rpartition(":")[2]
    kube.slice_of(world.api, "slice-a", kube.endpoint("a", ready=False), port=int(port))
    wait_until(lambda: get(router, volume) is Code.UNAVAILABLE)
    world.api.remove(kube.CSINODES, "a")
    assert "node a is unavailable" in text_of(router, volume)
    assert unpublish(router, volume, "a") is Code.UNAVAILABLE
    kube.slice_of(world.api, "slice-a", kube.endpoint("a"), port=int(port))
    wait_until(lambda: get(router, volume) is Code.OK)


def test_a_node_that_is_gone_keeps_its_data_and_lets_go_of_attachments(world: Kubernetes) -> None:
    """Also to a router that began when the node was gone already."""
    router = world.router(*SOON)
    node = world.node("a")
    volume = placed(router, "v", "a")
    pool = volume.volume_id.partition("-")[0]
    known = world.api.objects.setdefault(kube.CONFIGMAPS, {})
    wait_until(lambda: known.get("cellar-pools", {}).get("data") == {pool: "a"})
    world.lose("a", node)
    for each in (router, world.router(*SOON)):
        wait_until(lambda each=each: "node a is gone" in text_of(each, volume))  # type: ignore[misc]
        assert "--node-gone-policy=forget" in text_of(each, volume)
        assert code_of(lambda each=each: delete(each, volume.volume_id)) is Code.UNAVAILABLE  # type: ignore[misc]
        assert unpublish(each, volume, "a") is Code.OK
        assert unpublish(each, volume, "") is Code.OK
    assert kube.EVENTS not in world.api.objects


def test_what_needs_a_source_that_is_gone_is_refused_for_good(world: Kubernetes) -> None:
    """UNAVAILABLE would be tried for ever, and block the deletion of what was to be made."""
    router = world.router(*SOON)
    node = world.node("a")
    volume = placed(router, "v", "a")
    world.lose("a", node)
    wait_until(lambda: "node a is gone" in text_of(router, volume))
    snapshot = csi.CreateSnapshotRequest(name="s", source_volume_id=volume.volume_id)
    code = code_of(lambda: router.controller.CreateSnapshot(snapshot))
    assert code is Code.FAILED_PRECONDITION
    source = csi.VolumeContentSource.VolumeSource(volume_id=volume.volume_id)
    content_source = csi.VolumeContentSource(volume=source)
    clone = {"volume_content_source": content_source, "accessibility_requirements": on("a")}
    assert code_of(lambda: create(router, "c", **clone)) is Code.FAILED_PRECONDITION
    fields = {"accessibility_requirements": on("a")}
    assert code_of(lambda: create(router, "n", **fields)) is Code.RESOURCE_EXHAUSTED


def test_what_was_on_a_node_that_is_gone_can_be_forgotten(world: Kubernetes) -> None:
    """With one Event for each thing, whoever forgets it, and however often."""
    router = world.router(*SOON, "--node-gone-policy", "forget")
    node = world.node("a")
    volume = placed(router, "v", "a")
    request = csi.CreateSnapshotRequest(name="s", source_volume_id=volume.volume_id)
    snapshot = router.controller.CreateSnapshot(request).snapshot.snapshot_id
    known = world.api.objects.setdefault(kube.CONFIGMAPS, {})
    wait_until(lambda: "cellar-pools" in known)
    world.lose("a", node)
    other = world.router(*SOON, "--node-gone-policy", "forget")
    for each in (router, other, router):
        wait_until(lambda each=each: text_of(each, volume) == "deleted")  # type: ignore[misc]
        each.controller.DeleteSnapshot(csi.DeleteSnapshotRequest(snapshot_id=snapshot))
    events = world.api.objects[kube.EVENTS].values()
    assert {event["involvedObject"]["name"] for event in events} == {"a"}
    messages = sorted(event["message"] for event in events)
    assert len(messages) == 2
    assert snapshot in messages[0]
    assert volume.volume_id in messages[1]


def test_nothing_is_forgotten_that_the_server_does_not_confirm(world: Kubernetes) -> None:
    router = world.router(*SOON, "--node-gone-policy", "forget")
    node = world.node("a")
    volume = placed(router, "v", "a")
    world.api.refuse = "GET /api/v1/nodes/a$"
    world.lose("a", node)
    wait_until(lambda: "node a is gone" in text_of(router, volume))
    assert code_of(lambda: delete(router, volume.volume_id)) is Code.UNAVAILABLE
    world.api.refuse = ""
    wait_until(lambda: text_of(router, volume) == "deleted")


def test_a_node_that_answers_is_not_gone_whoever_deleted_its_object(world: Kubernetes) -> None:
    router = world.router(*SOON, "--node-gone-policy", "forget")
    node = world.node("a")
    volume = placed(router, "v", "a")
    world.api.remove(kube.NODES, "a")
    lost = world.node("b")
    other = placed(router, "w", "b")
    world.lose("b", lost)
    wait_until(lambda: text_of(router, other) == "deleted")
    assert get(router, volume) is Code.OK
    assert node.volumes() == [volume.volume_id]


def test_the_taint_of_a_node_that_was_shut_down_lets_go_of_attachments(world: Kubernetes) -> None:
    router = world.router()
    node = world.node("a")
    volume = placed(router, "v", "a")
    publish(router, volume, "a")
    node.kill()
    wait_until(lambda: unpublish(router, volume, "a") is Code.UNAVAILABLE)
    kube.node(world.api, "a", "node.kubernetes.io/out-of-service")
    wait_until(lambda: unpublish(router, volume, "a") is Code.OK)
    assert code_of(lambda: delete(router, volume.volume_id)) is Code.UNAVAILABLE
    assert unpublish(router, volume, "b") is Code.UNAVAILABLE


def test_what_was_detached_while_its_node_was_away_can_be_deleted_when_it_is_back(
    world: Kubernetes,
) -> None:
    router = world.router()
    node = world.node("a")
    volume = placed(router, "v", "a")
    publish(router, volume, "a")
    os.kill(node.pid, signal.SIGSTOP)
    try:
        kube.node(world.api, "a", "node.kubernetes.io/out-of-service")
        wait_until(lambda: unpublish(router, volume, "a") is Code.OK, 60)
        kube.node(world.api, "a")
    finally:
        os.kill(node.pid, signal.SIGCONT)
    wait_until(lambda: get(router, volume) is Code.OK, 60)
    assert node.volumes() == [volume.volume_id]
    delete(router, volume.volume_id)
    assert node.volumes() == []


def test_a_router_lives_without_the_api_server_and_says_that_it_is_not_ready(
    world: Kubernetes,
) -> None:
    """A new process would not help."""
    port = free_port()
    world.api.refuse = "."
    where = world.where / "early"
    where.mkdir()
    router = world.begin(where, "--metrics", f"127.0.0.1:{port}")

    def status(page: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)
        except urllib.error.URLError:
            return 0  # the router opens this port after its socket

    wait_until(lambda: status("healthz") == 200)
    assert status("readyz") == 503
    assert not router.identity.Probe(csi.ProbeRequest()).ready.value
    world.api.refuse = ""
    wait_until(lambda: status("readyz") == 200)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert 'cellar_kubernetes_watch_up{kind="nodes"} 1.0' in answer.read().decode()


def test_certificates_given_as_files_leave_no_secrets(world: Kubernetes) -> None:
    world.router()
    files = world.mounted("cellar-router", world.where / "given")
    before = list(world.api.asked)
    router = world.router("--tls-dir", str(files))
    world.node("a")
    placed(router, "v", "a")
    assert router.stop() == 0
    secrets = [line for line in world.api.asked[len(before) :] if "/secrets/" in line]
    assert len(secrets) <= 3, "only the first router looks"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts")
def test_a_pool_that_two_nodes_show_is_told_of_both(world: Kubernetes) -> None:
    router = world.router()
    for name in ("a", "b"):
        disk = world.where / f"disk-{name}"
        disk.mkdir()
        world.node(name, f"p=loopfile:{disk},allocation=sparse,overcommit=100,init=true")
        placed(router, f"v-{name}", name)
    world.node("c", f"p=loopfile:{world.where / 'slot'},allocation=sparse,overcommit=100")
    copy = world.where / "copy"
    shutil.copytree(world.where / "disk-a", copy)
    copy.rename(world.where / "slot")

    wait_until(lambda: len(router.volumes()) == 1 and len(events_of(world, "PoolShownTwice")) == 2)
    events = events_of(world, "PoolShownTwice")
    assert {event["involvedObject"]["name"] for event in events} == {"a", "c"}
    assert all("refused on both" in event["message"] for event in events)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts")
def test_a_pool_that_becomes_unavailable_is_an_event_of_its_node(world: Kubernetes) -> None:
    """Once, for all routers; its node's other pools and the other nodes have none."""
    routers = [world.router(), world.router()]
    disk, moved = world.where / "disk", world.where / "away"
    disk.mkdir()
    world.node("a", f"p=loopfile:{disk},allocation=sparse,overcommit=100,init=true")
    world.node("b")
    for router in routers:
        placed(router, f"v-{router.where.name}", "a")
    assert events_of(world, "PoolUnavailable") == []
    disk.rename(moved)
    wait_until(lambda: len(events_of(world, "PoolUnavailable")) == 1)
    wait_until(lambda: all("cannot be used" in router.log.read_text() for router in routers))
    [event] = events_of(world, "PoolUnavailable")
    assert event["involvedObject"]["name"] == "a"
    assert event["message"].startswith("pool p cannot be used: ")
    moved.rename(disk)
    wait_until(lambda: all("can be used again" in router.log.read_text() for router in routers))
    wait_until(lambda: len(events_of(world, "PoolAvailable")) == 1)
    [event] = events_of(world, "PoolAvailable")
    assert (event["involvedObject"]["name"], event["type"]) == ("a", "Normal")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts")
def test_a_claim_has_an_event_when_its_volume_is_unhealthy_and_when_it_is_healthy_again(
    world: Kubernetes,
) -> None:
    """Once, for all routers; it takes a survey of the volumes to find it, and one to find its end."""
    router, _ = world.router(), world.router()
    disk = world.where / "disk"
    disk.mkdir()
    world.node("a", f"p=loopfile:{disk},allocation=sparse,overcommit=100,init=true")
    placed(router, "first", "a")
    uid, claims = "0c5f5b1e-3f0e-4d5e-9b3a-0123456789ab", "/api/v1/namespaces/shop/events"
    names = {"pvc/name": "data", "pvc/namespace": "shop", "pv/name": f"pvc-{uid}"}
    volume = create(
        router,
        f"pvc-{uid}",
        accessibility_requirements=on("a"),
        parameters={f"csi.storage.k8s.io/{key}": name for key, name in names.items()},
    )
    image = disk / volume.volume_id / "disk.img"
    os.truncate(image, volume.capacity_bytes // 2)

    def events(reason: str) -> list[dict[str, Any]]:
        found = world.api.objects.get(claims, {}).values()
        return [event for event in found if event["reason"] == reason]

    wait_until(lambda: events("VolumeUnhealthy"), 60)
    os.truncate(image, volume.capacity_bytes)
    wait_until(lambda: events("VolumeHealthy"), 90)
    [unhealthy], [healthy] = events("VolumeUnhealthy"), events("VolumeHealthy")
    claim = {"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data", "uid": uid}
    assert unhealthy["involvedObject"] == healthy["involvedObject"] == claim | {"apiVersion": "v1"}
    assert (unhealthy["type"], healthy["type"]) == ("Warning", "Normal")
    assert "(node a)" in unhealthy["message"]


def events_of(world: Kubernetes, reason: str) -> list[dict[str, Any]]:
    """The Events with this reason."""
    events = world.api.objects.get(kube.EVENTS, {}).values()
    return [event for event in events if event["reason"] == reason]
