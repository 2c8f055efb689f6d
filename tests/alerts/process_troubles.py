"""What goes wrong around drivers and routers: caused for real, and mended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from driver.tls import authority
from tests.alerts.trouble import Trouble, life, serve
from tests.cluster.fake_kubelet import Kubelet
from tests.cluster.kube_machines import kubernetes
from tests.cluster.machines import RoutedCluster, code_of
from tests.cluster.test_kubernetes import placed
from tests.cluster.test_orphans import persistent_volume
from tests.serve.test_kubelet import Announced
from tests.support.disks import run
from tests.support.node import Life, Node
from tests.support.ports import free_port
from tests.support.waiting import wait_until


@contextmanager
def state_full(node: Node) -> Iterator[Trouble]:
    """The filesystem of the state directory is full, and a volume is mounted."""
    state = node.base / "state"
    state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", state)
    disk = node.disk("xfs")
    csi, port = serve(node, f"p=loopfile:{disk.where}", options=("--state-dir", str(state)))
    made: list[Life] = []

    def cause() -> None:
        usage = os.statvfs(state)
        (state / "large").write_bytes(bytes(usage.f_bavail * usage.f_frsize))
        made.append(life(node, csi, "data"))

    def mend() -> None:
        (state / "large").unlink()
        made.pop().down()

    yield Trouble({port: "n1"}, cause, mend)


@contextmanager
def old_certificate(node: Node) -> Iterator[Trouble]:
    """The certificate of a node ends in three days."""
    tls = node.base / "tls"
    authority.create(tls)
    listen = ("--listen", f"127.0.0.1:{free_port()}", "--tls-dir", str(tls / "node"))
    _, port = serve(node, "sim=memory:1GiB", options=listen)
    yield Trouble(
        {port: "n1"}, lambda: authority.create(tls, days=3), lambda: authority.create(tls)
    )


@contextmanager
def node_killed(node: Node) -> Iterator[Trouble]:
    """The only node of a cluster ends."""
    port = free_port()
    where = node.base / "c"
    where.mkdir()
    with RoutedCluster(where, {"a": ["sim=memory:1GiB"]}) as cluster:
        cluster.another("--metrics", f"127.0.0.1:{port}")
        driver = cluster.nodes["a"]
        yield Trouble({port: "n1"}, driver.kill, driver.start)


@contextmanager
def driver_killed(node: Node) -> Iterator[Trouble]:
    """The process of a driver ends."""
    csi, port = serve(node, "sim=memory:1GiB")
    yield Trouble({port: "n1"}, csi.driver.kill, csi.driver.start)


@contextmanager
def volume_unnamed(node: Node) -> Iterator[Trouble]:
    """A volume has no PersistentVolume, and then has one again."""
    port = free_port()
    where = node.base / "o"
    where.mkdir()
    with kubernetes(where) as world:
        router = world.router("--orphans-after", "2s", "--metrics", f"127.0.0.1:{port}")
        world.node("a")
        made: list[str] = []

        def mend() -> None:
            persistent_volume(world, "pv", made.pop(), "data")

        yield Trouble({port: "n1"}, lambda: made.append(placed(router, "v", "a").volume_id), mend)


@contextmanager
def kubelet_refuses(node: Node) -> Iterator[Trouble]:
    """Kubelet refuses the driver, and then takes it."""
    kubelet = Kubelet(node.base / "kl")
    where = node.base / "announced"
    where.mkdir()
    with Announced(where, kubelet) as driver:
        kubelet.register()

        def mend() -> None:
            wait_until(lambda: code_of(kubelet.register) is grpc.StatusCode.OK)

        yield Trouble({driver.port: "n1"}, lambda: kubelet.tell("the API server is down"), mend)


@contextmanager
def api_server_fails(node: Node) -> Iterator[Trouble]:
    """The API server of Kubernetes answers nothing but 503."""
    port = free_port()
    where = node.base / "k"
    where.mkdir()
    with kubernetes(where) as world:
        world.router("--metrics", f"127.0.0.1:{port}")

        def cause() -> None:
            world.api.refuse = "."
            world.api.hang_up()

        def mend() -> None:
            world.api.refuse = ""

        yield Trouble({port: "n1"}, cause, mend)
