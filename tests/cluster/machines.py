"""A cluster on one machine: nodes and routers as processes, with certificates of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import yaml

from csi_proto import csi_pb2 as csi
from driver.tls import authority
from tests.support.driver_process import DriverProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_until

KEY = "cellar.csi.internal/node"
MODE = csi.VolumeCapability.AccessMode
MOUNT = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(), access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER)
)

GIB = 1 << 30


class RouterProcess(DriverProcess):
    """`cellar route` in place of `cellar serve`."""

    def __init__(self, where: Path, nodes: Path, tls: Path, **more: Sequence[str]) -> None:
        super().__init__(where, [], **more)  # type: ignore[arg-type]
        self.nodes = nodes
        self.tls = tls

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("serve")
        own = ["--endpoint", self.endpoint, "--nodes", f"static:{self.nodes}"]
        return [*words[:at], "route", *own, "--tls-dir", str(self.tls), *self.arguments]


class RoutedCluster:
    """Nodes `a`, `b`, `c`, ... with the pools given, and a router; more can be started."""

    def __init__(
        self, where: Path, pools: Mapping[str, Sequence[str]], **more: Sequence[str]
    ) -> None:
        self.where = where
        self.tls = where / "tls"
        self.file = where / "nodes.yaml"
        self.arguments = list(more.get("arguments", ()))
        self.wrap = list(more.get("wrap", ()))
        self.ports = {name: free_port() for name in pools}
        self.nodes = {name: self._node(name, list(given)) for name, given in pools.items()}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        authority.create(self.tls)
        self.say(*self.nodes)
        for node in self.nodes.values():
            self._stack.enter_context(node)
        self.router = self.another()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def say(self, *names: str) -> None:
        """These nodes are the cluster from now on."""
        nodes = [{"name": name, "address": f"127.0.0.1:{self.ports[name]}"} for name in names]
        beside = self.file.with_suffix(".new")
        beside.write_text(yaml.safe_dump({"nodes": nodes}))
        beside.replace(self.file)

    def another(self, *arguments: str) -> RouterProcess:
        """One more router, that has found all nodes."""
        where = self.where / f"router-{time.monotonic_ns()}"
        where.mkdir()
        router = RouterProcess(
            where, self.file, self.tls / "router", arguments=arguments, wrap=self.wrap
        )
        self._stack.enter_context(router)
        wait_until(lambda: ready(router))
        return router

    def _node(self, name: str, pools: list[str]) -> DriverProcess:
        where = self.where / name
        where.mkdir()
        listen = ["--listen", f"127.0.0.1:{self.ports[name]}", "--tls-dir", str(self.tls / "node")]
        return DriverProcess(
            where, pools, node_id=name, arguments=[*listen, *self.arguments], wrap=self.wrap
        )


def ready(driver: DriverProcess) -> bool:
    return driver.identity.Probe(csi.ProbeRequest()).ready.value


def create(driver: DriverProcess, name: str, **fields: object) -> csi.Volume:
    request = csi.CreateVolumeRequest(name=name, volume_capabilities=[MOUNT], **fields)  # type: ignore[arg-type]
    return driver.controller.CreateVolume(request).volume


def on(name: str, *others: str) -> csi.TopologyRequirement:
    """What the provisioner asks when the scheduler has chosen `name`."""
    nodes = [csi.Topology(segments={KEY: node}) for node in (name, *others)]
    return csi.TopologyRequirement(requisite=nodes, preferred=nodes)


def node_of(volume: csi.Volume) -> str:
    [topology] = volume.accessible_topology
    return topology.segments[KEY]


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def pages(driver: DriverProcess, most: int) -> Iterator[list[str]]:
    """The ids of all volumes, page by page."""
    token = ""
    while True:
        request = csi.ListVolumesRequest(max_entries=most, starting_token=token)
        page = driver.controller.ListVolumes(request)
        yield [entry.volume.volume_id for entry in page.entries]
        if not (token := page.next_token):
            return
