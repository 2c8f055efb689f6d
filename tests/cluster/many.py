"""A cluster of many simulated nodes, in few processes, and routers in front of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import yaml

from csi_proto import cellar_pb2 as cellar
from csi_proto import cellar_pb2_grpc, csi_pb2_grpc
from driver.tls import authority, identity
from tests.cluster.machines import RouterProcess
from tests.cluster.simulated import KINDS, name_of
from tests.support.driver_process import ROOT
from tests.support.waiting import wait_until

SHARE = 500  # nodes in one process
START = 120.0  # seconds for all nodes to be reachable, on a busy machine


class Nodes:
    """The nodes of one process; see tests/cluster/simulated.py."""

    def __init__(self, folder: Path, first: int, count: int) -> None:
        words = [sys.executable, "-m", "tests.cluster.simulated", str(folder)]
        self._numbers = range(first, first + count)
        self._process = subprocess.Popen(
            [*words, str(first), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    @property
    def numbers(self) -> range:
        return self._numbers

    def ports(self) -> list[int]:
        """Wait until the process serves, and return the ports of its nodes."""
        return self._answer()  # type: ignore[no-any-return]

    def call(self, command: str, *arguments: int) -> Any:
        """Have the process run a method of `simulated.Process`, and return what it returns."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


class ManyNodes:
    """A cluster of `count` simulated nodes; routers are started by `router`."""

    def __init__(self, where: Path, count: int) -> None:
        self.count = count
        self._where = where
        self._stack = ExitStack()
        self._groups: Sequence[Nodes] = ()
        self._ports: Sequence[int] = ()
        self._routers = 0

    def __enter__(self) -> Self:
        authority.create(self._where / "tls")
        self._groups = [
            Nodes(self._where / "tls/node", first, min(SHARE, self.count - first))
            for first in range(0, self.count, SHARE)
        ]
        for group in self._groups:
            self._stack.callback(group.close)
        self._ports = [port for group in self._groups for port in group.ports()]
        nodes = [
            {"name": name_of(number), "address": f"127.0.0.1:{port}"}
            for number, port in enumerate(self._ports)
        ]
        (self._where / "nodes.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def router(self) -> RouterProcess:
        """Start one more router, and return it when it reaches all nodes."""
        where = self._where / f"router-{self._routers}"
        where.mkdir()
        self._routers += 1
        router = RouterProcess(where, self._where / "nodes.yaml", self._where / "tls/router")
        self._stack.enter_context(router)
        wait_until(lambda: pools_of(router) == len(KINDS) * self.count, START)
        return router

    def controller(self, number: int) -> csi_pb2_grpc.ControllerStub:
        """Return the Controller service of a node, as a router calls it."""
        credentials = identity.Files(self._where / "tls/router").identity.client()
        options = [("grpc.ssl_target_name_override", identity.NODE)]
        address = f"127.0.0.1:{self._ports[number]}"
        channel = grpc.secure_channel(address, credentials, options)
        self._stack.callback(channel.close)
        return csi_pb2_grpc.ControllerStub(channel)

    def stop(self, *numbers: int) -> None:
        """Stop these nodes."""
        self._each("stop", numbers)

    def start(self, *numbers: int) -> None:
        """Start these nodes again."""
        self._each("start", numbers)

    def asked(self) -> Counter[str]:
        """Return the number of calls that all nodes got since the last time, by method."""
        counts: Counter[str] = Counter()
        for group in self._groups:
            counts.update(group.call("asked"))
        return counts

    def _each(self, command: str, numbers: Sequence[int]) -> None:
        for group in self._groups:
            if given := [number for number in numbers if number in group.numbers]:
                group.call(command, *given)


@contextmanager
def many(where: Path, count: int) -> Iterator[tuple[ManyNodes, RouterProcess]]:
    """A cluster of `count` nodes, and a router that reaches all of them."""
    with ManyNodes(where, count) as nodes:
        yield nodes, nodes.router()


def pools_of(router: RouterProcess) -> int:
    """Return the number of pools that the router reaches; 0 if it is too busy to say so."""
    assert router.channel
    stub = cellar_pb2_grpc.NodeStub(router.channel)
    try:
        return len(stub.ListPools(cellar.ListPoolsRequest(), timeout=10).pools)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
        return 0
