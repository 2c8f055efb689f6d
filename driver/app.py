"""The composition root: the one place where the parts meet, and the life of the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from driver.backends import loopfile, memory
from driver.backends.memory_host import MemoryHost
from driver.config import Config, PoolSpec, RouteConfig
from driver.core.errors import Invalid
from driver.core.ports import Pool
from driver.linux.crypt import LinuxCrypt
from driver.linux.crypt import Options as CryptOptions
from driver.linux.freeze import Freezer
from driver.linux.host import LinuxHost
from driver.observe import log
from driver.observe.disks import Disks
from driver.observe.http import Answer, Http
from driver.observe.metrics import Metrics
from driver.rpc.topology import Here
from driver.rpc.uses import Uses
from driver.volumes.contents import Contents
from driver.volumes.copies import Copies
from driver.volumes.health import Health
from driver.volumes.modify import Modifier
from driver.volumes.pools import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.publish import Mounter, Publisher
from driver.volumes.snapshots import Snapshotter

if TYPE_CHECKING:
    from driver.cluster.nodes import Nodes
    from driver.rpc.server import Door, Listener

GRACE: Final = 17.0  # seconds for running calls after SIGTERM
LEAVE: Final = 19.0  # seconds after which the process goes, whatever still runs
COPIERS: Final = 2
PROBE: Final = 3.0  # seconds for /healthz


class Machine:
    """What the pools of this machine share; each part is made when the first pool needs it."""

    def __init__(self, owner: str, luks: CryptOptions) -> None:
        self.owner = owner
        self.luks = luks

    @cached_property
    def freezer(self) -> Freezer:
        return Freezer()

    @cached_property
    def host(self) -> LinuxHost:
        return LinuxHost()

    @cached_property
    def crypt(self) -> LinuxCrypt:
        return LinuxCrypt(self.luks)

    @cached_property
    def simulated(self) -> MemoryHost:
        return MemoryHost()


def _loopfile(spec: PoolSpec, machine: Machine) -> Pool:
    options = spec.options_as(loopfile.Options)
    backend = loopfile.open_pool(spec.name, spec.path(), options, machine.freezer, machine.owner)
    return Pool(spec.name, backend, machine.host, machine.crypt)


def _memory(spec: PoolSpec, machine: Machine) -> Pool:
    options = spec.options_as(memory.Options)
    return memory.memory(spec.name, spec.size(), options, host=machine.simulated)


BACKENDS: Final[dict[str, Callable[[PoolSpec, Machine], Pool]]] = {
    "loopfile": _loopfile,
    "memory": _memory,
}


def open_pools(config: Config) -> list[Pool]:
    """Before gRPC is there: a child of the process starts here. Invalid."""
    for spec in config.pools:
        if spec.type not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise Invalid(f"pool {spec.name}: type {spec.type!r} is not one of {known}")
    machine = Machine(config.driver_name, config.luks)
    return [BACKENDS[spec.type](spec, machine) for spec in config.pools]


def serve(config: Config) -> None:
    """Until SIGTERM. Invalid, Refused: it cannot begin."""
    log.set_up(config.log_level, config.log_format)
    ended = asyncio.run(_Life(config, open_pools(config)).live())
    if not _joined(ended + LEAVE):
        logger.error("left while work was still running")
        sys.stderr.flush()
        os._exit(1)  # a thread that is stuck in the kernel would be joined for ever


class _Life:
    """From the first socket to the last answer."""

    def __init__(self, config: Config, pools: Sequence[Pool]) -> None:
        self._config = config
        self._pools = pools
        self._version = metadata.version("cellar-csi")
        self._metrics = Metrics(self._version, pools)
        self._copiers = ThreadPoolExecutor(COPIERS, thread_name_prefix="copier")
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="looker")
        self._copies = Copies(self._copiers)
        self._http = Http({"/metrics": self._show_metrics, "/healthz": self._show_health})

    async def live(self) -> float:
        """When the end was asked for, in monotonic time."""
        from driver.rpc.server import About, Server  # noqa: PLC0415 - gRPC comes after the pools

        stop = _stop_signals()
        config = self._config
        about = About(
            name=config.driver_name,
            version=self._version,
            here=Here(config.topology_key, config.node_id),
            max_volumes=config.max_volumes,
            attach=config.attach,
        )
        server = Server(about, self._uses(), self._metrics.seen, self._listener())
        await server.start(config.endpoint)
        try:
            if config.metrics:
                await self._http.start(*config.metrics)
            names = ", ".join(pool.name for pool in self._pools)
            logger.info("ready", endpoint=config.endpoint, node=config.node_id, pools=names)
            self._looker.submit(Disks(self._pools, self._looker).watch)
            await stop.wait()
            logger.info("stopping: calls that run end first")
        finally:
            ended = time.monotonic()
            self._http.stop()
            await server.stop(GRACE)
            self._stop_copies()
        return ended

    def _uses(self) -> Uses:
        config, pools = self._config, Pools(self._pools)
        return Uses(
            pools=pools,
            volumes=Provisioner(pools, Contents(), self._copies, time.time),
            publisher=Publisher(pools, config.node_id, config.max_volumes),
            mounter=Mounter(pools),
            snapshots=Snapshotter(pools, self._copies, time.time),
            modifier=Modifier(pools),
            health=Health(pools),
        )

    def _listener(self) -> Listener | None:
        config = self._config
        if not (config.listen and config.tls_dir):
            return None
        from driver.cluster import tls  # noqa: PLC0415 - for nodes of a cluster only
        from driver.rpc.server import Listener  # noqa: PLC0415 - gRPC is there by now

        host, port = config.listen
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return Listener(where, tls.server_credentials(config.tls_dir), tls.Admission())

    def _stop_copies(self) -> None:
        self._copies.stop()
        self._copiers.shutdown(wait=False, cancel_futures=True)
        self._looker.shutdown(wait=False, cancel_futures=True)

    async def _show_metrics(self) -> Answer:
        """In a thread of its own: looking at a pool may hang, and nothing else should."""
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._looker, self._metrics.text)
        return Answer(HTTPStatus.OK, text, "text/plain; version=0.0.4; charset=utf-8")

    async def _show_health(self) -> Answer:
        return await _health(self._config.endpoint)


def route(config: RouteConfig) -> None:
    """Be the controller of a cluster until SIGTERM. Invalid, Refused: it cannot begin."""
    log.set_up(config.log_level, config.log_format)
    asyncio.run(_Routing(config).live())


class _Routing:
    """A router in place of the pools."""

    def __init__(self, config: RouteConfig) -> None:
        self._config = config
        self._version = metadata.version("cellar-csi")
        self._metrics = Metrics(self._version, ())
        self._http = Http({"/metrics": self._show_metrics, "/healthz": self._show_health})

    async def live(self) -> None:
        from driver.cluster.directory import StaticFile  # noqa: PLC0415 - never for serve
        from driver.cluster.nodes import Nodes  # noqa: PLC0415
        from driver.cluster.tls import Files  # noqa: PLC0415
        from driver.rpc.server import Door  # noqa: PLC0415

        stop, config = _stop_signals(), self._config
        directory = StaticFile(config.nodes)
        directory.read()  # Invalid now, rather than a router without nodes
        nodes, door = Nodes(directory, Files(config.tls_dir)), Door(self._metrics.seen)
        self._register(nodes, door)
        watching = asyncio.create_task(nodes.watch())
        watching.add_done_callback(lambda _: stop.set())
        try:
            await door.open(config.endpoint)
            if config.metrics:
                await self._http.start(*config.metrics)
            logger.info("ready", endpoint=config.endpoint, nodes=config.nodes)
            await stop.wait()
            logger.info("stopping: calls that run end first")
        finally:
            self._http.stop()
            await door.close(GRACE)
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    def _register(self, nodes: Nodes, door: Door) -> None:
        """Capabilities are those of this release: sidecars ask once, perhaps before any node."""
        from csi_proto.csi_pb2_grpc import add_IdentityServicer_to_server  # noqa: PLC0415
        from driver.cluster import groups, lists, router, routes  # noqa: PLC0415
        from driver.rpc import controller, group, parse  # noqa: PLC0415
        from driver.rpc.identity import Identity  # noqa: PLC0415

        config = self._config

        async def controller_capabilities(*_: Any) -> Any:
            return controller.capabilities(attach=config.attach)

        async def group_capabilities(*_: Any) -> Any:
            return group.capabilities()

        reading = routes.Reading(create=parse.create, measure=parse.measure)
        answers = {
            "ControllerGetCapabilities": controller_capabilities,
            "GroupControllerGetCapabilities": group_capabilities,
            **routes.Routes(nodes, reading, config.topology_key).all(),
            **lists.Lists(nodes).all(),
            **groups.Groups(nodes).all(),
        }
        hidden = () if config.attach else router.ATTACHING
        identity = Identity(config.driver_name, self._version, lambda: nodes.synced)
        add_IdentityServicer_to_server(identity, door.grpc)
        door.grpc.add_generic_rpc_handlers((router.Router(nodes, answers, frozenset(hidden)),))

    async def _show_metrics(self) -> Answer:
        return Answer(
            HTTPStatus.OK, self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8"
        )

    async def _show_health(self) -> Answer:
        return await _health(self._config.endpoint)


async def _health(endpoint: Path) -> Answer:
    from driver.rpc.server import probe  # noqa: PLC0415 - gRPC is there by now

    if await probe(endpoint, PROBE):
        return Answer(HTTPStatus.OK, b"ok\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"the driver does not answer Probe\n")


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _joined(end: float) -> bool:
    """Wait until `end` for all threads that Python would wait for without end."""
    mine = threading.current_thread()
    others = [one for one in threading.enumerate() if one is not mine and not one.daemon]
    for thread in others:
        thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in others)
