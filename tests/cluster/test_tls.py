"""Who gets an answer from a node's port, and whom a router believes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc
from csi_proto import csi_pb2 as csi
from driver.tls import authority, identity
from tests.cluster.machines import RoutedCluster, code_of, create, on
from tests.support.driver_process import DriverProcess
from tests.support.waiting import wait_until

Code = grpc.StatusCode
ONE = {"a": ["sim=memory:10GiB"]}


@pytest.fixture
def cluster(where: Path) -> Iterator[RoutedCluster]:
    with RoutedCluster(where, ONE) as cluster:
        yield cluster


def channel(cluster: RoutedCluster, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    address = f"127.0.0.1:{cluster.ports['a']}"
    if credentials is None:
        return grpc.insecure_channel(address)
    options = [("grpc.ssl_target_name_override", identity.NODE)]
    return grpc.secure_channel(address, credentials, options)


def listed(cluster: RoutedCluster, credentials: grpc.ChannelCredentials | None) -> Code:
    """What a client of these credentials is told by the node."""
    with channel(cluster, credentials) as line:
        stub = cellar_pb2_grpc.NodeStub(line)
        return code_of(lambda: stub.ListPools(cellar.ListPoolsRequest(), timeout=10))


def of(folder: Path) -> grpc.ChannelCredentials:
    return identity.Files(folder).identity.client()


def test_only_a_router_gets_an_answer_from_a_node(cluster: RoutedCluster, tmp_path: Path) -> None:
    others, expired = tmp_path / "others", tmp_path / "expired"
    authority.create(others)
    shutil.copytree(cluster.tls, expired)
    authority.create(expired, now=datetime.now(UTC) - timedelta(days=30), days=29)
    ca = (cluster.tls / "ca.crt").read_bytes()
    mixed = identity.Files(others / "router").identity
    refused = {
        "no certificate": grpc.ssl_channel_credentials(ca),
        "no encryption": None,
        "another CA": grpc.ssl_channel_credentials(ca, mixed.key, mixed.certificate),
        "expired": of(expired / "router"),
        "a node": of(cluster.tls / "node"),
    }
    assert listed(cluster, of(cluster.tls / "router")) is Code.OK
    for name, credentials in refused.items():
        assert listed(cluster, credentials) is Code.UNAVAILABLE, name


def test_a_router_has_no_business_in_a_nodes_mounts(cluster: RoutedCluster) -> None:
    with channel(cluster, of(cluster.tls / "router")) as line:
        stub = csi_pb2_grpc.NodeStub(line)
        code = code_of(lambda: stub.NodeGetInfo(csi.NodeGetInfoRequest(), timeout=10))
    assert code is Code.PERMISSION_DENIED


def test_a_certificate_of_both_uses_without_the_role_is_refused(
    cluster: RoutedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role decides, not only what a certificate may be used for."""
    _, use = authority.IDENTITIES["router"]
    monkeypatch.setitem(authority.IDENTITIES, "stranger", ("stranger.cellar.csi.internal", use))
    authority.create(cluster.tls)
    assert listed(cluster, of(cluster.tls / "stranger")) is Code.PERMISSION_DENIED


@pytest.mark.parametrize("kind", ["router", "another CA", "expired"])
def test_a_router_believes_nodes_only(cluster: RoutedCluster, tmp_path: Path, kind: str) -> None:
    """The same node with files that are not a node's of this cluster."""
    node = cluster.nodes["a"]
    node.stop()
    folder = tmp_path / "tls"
    if kind == "another CA":
        authority.create(folder)
    else:
        shutil.copytree(cluster.tls, folder)
        past = datetime.now(UTC) - timedelta(days=30)
        authority.create(folder, now=past if kind == "expired" else None, days=29)
    files = folder / ("router" if kind == "router" else "node")
    node.arguments[node.arguments.index("--tls-dir") + 1] = str(files)
    wait_until(lambda: "node a is unavailable" in cluster.router.log.read_text())
    log = len(cluster.router.log.read_text())
    node.start()
    wait_until(lambda: "failed" in cluster.router.log.read_text()[log:].lower())
    assert code_of(lambda: create(cluster.router, "v")) is Code.UNAVAILABLE
    assert "node a is reachable" not in cluster.router.log.read_text()[log:]


def test_a_port_that_is_taken_is_said_and_leaves_no_socket(cluster: RoutedCluster) -> None:
    other = DriverProcess(cluster.where, ["sim=memory:1GiB"], node_id="b")
    other.arguments = cluster.nodes["a"].arguments
    other.spawn()
    assert other.wait() == 1
    assert f"cannot listen on 127.0.0.1:{cluster.ports['a']}" in other.tail()
    assert not other.socket.exists()


def test_new_certificates_are_taken_without_a_restart(cluster: RoutedCluster) -> None:
    """Even of a new CA, which makes strangers of all who had the old one."""
    old = of(cluster.tls / "router")
    volume = create(cluster.router, "v", accessibility_requirements=on("a"))
    (cluster.tls / "ca.key").unlink()
    (cluster.tls / "ca.crt").unlink()
    authority.create(cluster.tls)
    wait_until(lambda: "loaded new certificates" in cluster.router.log.read_text())
    new = of(cluster.tls / "router")
    wait_until(lambda: listed(cluster, new) is Code.OK)
    assert listed(cluster, old) is Code.UNAVAILABLE
    request = csi.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    for driver in (cluster.router, cluster.another()):
        wait_until(
            lambda driver=driver: (
                code_of(  # type: ignore[misc]
                    lambda: driver.controller.ControllerGetVolume(request)
                )
                is Code.OK
            )
        )
