"""A cluster as `machines` makes it, but found through an API server."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster import kube
from tests.cluster.fake_apiserver import FakeCluster, api_server
from tests.cluster.machines import ready
from tests.support.driver_process import DriverProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_until

POOL = "sim=memory:100GiB"


class KubernetesRouter(DriverProcess):
    """`cellar route --nodes kubernetes`."""

    def __init__(self, where: Path, kubeconfig: Path, arguments: Sequence[str]) -> None:
        super().__init__(where, [], arguments=arguments)
        self.kubeconfig = kubeconfig

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("serve")
        nodes = f"kubernetes:{kube.NAMESPACE}/{kube.SERVICE}"
        own = ["--endpoint", self.endpoint, "--nodes", nodes, "--kubeconfig", str(self.kubeconfig)]
        return [*words[:at], "route", *own, *self.arguments]


class Kubernetes:
    def __init__(self, where: Path, api: FakeCluster, kubeconfig: Path, stack: ExitStack) -> None:
        self.where = where
        self.api = api
        self.kubeconfig = kubeconfig
        self._stack = stack

    def router(self, *arguments: str) -> KubernetesRouter:
        """One that knows all nodes."""
        where = self.where / f"router-{time.monotonic_ns()}"
        where.mkdir()
        router = self.begin(where, *arguments)
        wait_until(lambda: ready(router))
        return router

    def begin(self, where: Path, *arguments: str) -> KubernetesRouter:
        return self._stack.enter_context(KubernetesRouter(where, self.kubeconfig, arguments))

    def node(self, name: str, pool: str = POOL) -> DriverProcess:
        """A node with its pod: an endpoint that is ready, with the Secret that the router made."""
        where = self.where / name
        where.mkdir()
        tls, port = self.mounted("cellar-node", where / "tls"), free_port()
        listen = ["--listen", f"127.0.0.1:{port}", "--tls-dir", str(tls)]
        driver = DriverProcess(where, [pool], node_id=name, arguments=listen)
        self._stack.enter_context(driver)
        kube.node(self.api, name)
        kube.csinode(self.api, name, kube.DRIVER)
        kube.slice_of(self.api, f"slice-{name}", kube.endpoint(name), port=port)
        return driver

    def lose(self, name: str, driver: DriverProcess) -> None:
        """`kubectl delete node` of one that died: everything of it goes with the Node."""
        driver.kill()
        kube.slice_of(self.api, f"slice-{name}")
        self.api.remove(kube.CSINODES, name)
        self.api.remove(kube.NODES, name)

    def mounted(self, secret: str, folder: Path) -> Path:
        folder.mkdir()
        for name, text in self.api.objects[kube.SECRETS][secret]["data"].items():
            (folder / name).write_bytes(b64decode(text))
        return folder


@contextmanager
def kubernetes(where: Path) -> Iterator[Kubernetes]:
    with ExitStack() as stack:
        api, kubeconfig = stack.enter_context(api_server(where))
        yield Kubernetes(where, api, kubeconfig, stack)
    assert not [log for log in where.rglob("*.log") if "Traceback" in log.read_text()]
