"""The composition root: the one place where the parts meet, and the life of the process."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Final

from loguru import logger

from driver.app import process
from driver.app.config import Config, PoolSpec
from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.state import Shared
from driver.backends.lvm import options as lvm_options
from driver.backends.lvm.opening import configure_pool
from driver.backends.lvm.volume_group import Groups
from driver.backends.memory import backend as memory
from driver.backends.memory.host import MemoryHost
from driver.backends.memory.records import memory_state
from driver.backends.pool_threads import SILENT, SILENT_LVM, Answering
from driver.core.answers import thread_tag
from driver.core.capacity import PoolState
from driver.core.errors import Invalid, PoolUnavailable
from driver.core.kubelet import registration_socket
from driver.core.ports.backend_features import NeedsMaintenance
from driver.core.ports.pool import Pool
from driver.core.ports.records import NodeState
from driver.csi.topology import NodeTopology
from driver.linux import cgroup, command, descriptors, sysfs
from driver.linux.devices import loop_ioctl
from driver.linux.devices.lvm import PROGRAMS
from driver.linux.formats.luks import LinuxCrypt
from driver.linux.formats.luks import Options as CryptOptions
from driver.linux.host import LinuxHost
from driver.linux.mounts.freeze import Freezer
from driver.linux.state.node_state import node_state
from driver.observe import log
from driver.observe.disks import Disks
from driver.observe.http import Answer, Http
from driver.observe.metrics import Metrics
from driver.observe.poolnews import PoolNews
from driver.services.use_cases import UseCases
from driver.volumes import maintenance
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.changed_blocks import Changes
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.health import Health
from driver.volumes.modify import Modifier
from driver.volumes.node.ephemeral import EphemeralVolumes
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node.pod_volumes import PodVolumes
from driver.volumes.pools import abilities
from driver.volumes.pools.bounded_queries import LISTS
from driver.volumes.pools.pool_states import States
from driver.volumes.pools.pool_watch import EVERY, Watching
from driver.volumes.pools.registry import Pools
from driver.volumes.pools.withdrawals import Withdrawals
from driver.volumes.provision import Provisioner
from driver.volumes.publish import ControllerPublisher, NodeVolumes

if TYPE_CHECKING:
    from driver.services.kubelet_registration import KubeletRegistration
    from driver.services.server import Listener, Server

LEAVE: Final = 19.0  # seconds after which the process goes, whatever still runs
COPIERS: Final = 2  # of each pool
GIVEN_BACK: Final = 1.0  # seconds for a pool to be given back
ADOPTED: Final = 1.0  # seconds that the socket waits for pools that are being looked for
TENDED: Final = 10.0  # seconds from one look after the pools to the next


class Machine:
    """What the pools of this machine share. Each part is made when the first pool needs it.

    `owner`: the driver's name.
    """

    def __init__(self, owner: str, luks: CryptOptions, state: NodeState) -> None:
        self.owner = owner
        self.luks = luks
        self.state = state

    @cached_property
    def freezer(self) -> Freezer:
        return Freezer()

    @cached_property
    def loopfile_pools(self) -> Shared:
        return Shared(known=self.state.pools)

    @cached_property
    def groups(self) -> Groups:
        return Groups(self.state.pools)

    @cached_property
    def host(self) -> LinuxHost:
        return LinuxHost()

    @cached_property
    def crypt(self) -> LinuxCrypt:
        return LinuxCrypt(self.luks, cgroup.memory_limit())

    @cached_property
    def simulated(self) -> MemoryHost:
        return MemoryHost()


def open_state(config: Config) -> NodeState:
    """Open the records that outlive the process; if all pools are simulated, only memory."""
    if all(spec.type == "memory" for spec in config.pools):
        return memory_state()
    return node_state(config.state_dir, config.driver_name)


def _loopfile(spec: PoolSpec, machine: Machine) -> Pool:
    options = spec.options_as(loopfile.Options)
    if text := loop_ioctl.find_problem():
        logger.error("pool {} cannot attach volumes: {}", spec.name, text)
    elif text := sysfs.find_problem():
        logger.error("pool {} cannot attach thick volumes: {}", spec.name, text)
    backend = loopfile.Loopfile(
        spec.name,
        spec.path(),
        options,
        machine.freezer,
        machine.owner,
        shared=machine.loopfile_pools,
    )
    return Pool(spec.name, backend, machine.host, machine.crypt)


def _lvm(spec: PoolSpec, machine: Machine) -> Pool:
    if lacking := command.missing(PROGRAMS):
        raise Invalid(f"pool {spec.name}: {', '.join(lacking)} not found: install lvm2")
    options = spec.options_as(lvm_options.Options)
    backend = configure_pool(spec.name, spec.where, options, machine, machine.groups)
    return Pool(spec.name, backend, machine.host, machine.crypt)


def _memory(spec: PoolSpec, machine: Machine) -> Pool:
    options = spec.options_as(memory.Options)
    return memory.memory(spec.name, spec.size(), options, host=machine.simulated)


BACKENDS: Final[dict[str, Callable[[PoolSpec, Machine], Pool]]] = {
    "loopfile": _loopfile,
    "lvm": _lvm,
    "memory": _memory,
}


def open_pools(config: Config, state: NodeState) -> list[Pool]:
    """Return the configured pools, without having looked for them yet.

    Call it before gRPC is imported: a child of the process starts here. Raises: Invalid.
    """
    for spec in config.pools:
        if spec.type not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise Invalid(f"pool {spec.name}: type {spec.type!r} is not one of {known}")
    machine = Machine(config.driver_name, config.luks, state)
    return [_asked(spec, BACKENDS[spec.type](spec, machine)) for spec in config.pools]


def _asked(spec: PoolSpec, pool: Pool) -> Pool:
    """Return the pool with its type and place, and with threads of its own that ask it."""
    silent = SILENT_LVM if spec.type == "lvm" else SILENT
    answers = Answering(spec.name, silent=silent)
    return replace(pool, type=spec.type, location=spec.where, answers=answers)


def serve(config: Config) -> None:
    """Serve the pools of this node until SIGTERM. Raises: Invalid, Refused if it cannot start."""
    log.set_up(config.log_level, config.log_format)
    descriptors.raise_limit()
    state = open_state(config)
    pools = open_pools(config, state)
    ended = process.run(_Life(config, pools, state).live())
    if stuck := _not_joined(ended + LEAVE):
        logger.error("left while work was still running")
        _give_back(pools, stuck)
        sys.stderr.flush()
        os._exit(1)  # a thread that is stuck in the kernel would be joined for ever


class _Life:
    """The life of a driver, from its start to its end."""

    def __init__(self, config: Config, pools: Sequence[Pool], state: NodeState) -> None:
        self._config = config
        self._pools = pools
        self._state = state
        self._version = metadata.version("cellar-csi")
        self._metrics = Metrics(self._version, pools)
        self._copiers = {
            pool.name: ThreadPoolExecutor(COPIERS, f"copier{thread_tag(pool.name)}")
            for pool in pools
        }
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="looker")
        self._tenders = {
            pool.name: ThreadPoolExecutor(1, f"tender{thread_tag(pool.name)}")
            for pool in pools
            if isinstance(pool.backend, NeedsMaintenance)
        }
        self._copies = BackgroundCopies(self._copier_of)
        self._together = Pools(pools, Withdrawals(state.pools))
        self._begun = time.monotonic()
        self._adopted = self._together.adopt()
        self._news = PoolNews()
        pages = process.health_pages(config.endpoint, self._problem, self._news.lines)
        self._metrics.watch(
            "cellar_state_problem",
            "Whether the state directory cannot be read or written",
            lambda: bool(state.mount_records.problem or state.pools.problem),
        )
        self._http = Http({"/metrics": self._show_metrics, **pages})
        self._announcement: KubeletRegistration | None = None

    async def live(self) -> float:
        """Serve until SIGTERM, and return when that came (monotonic, seconds)."""
        from driver.services.server import DriverInfo, Server  # noqa: PLC0415 - gRPC comes after the pools

        stop = process.stop_signals()
        config = self._config
        about = DriverInfo(
            name=config.driver_name,
            version=self._version,
            topology=NodeTopology(config.topology_key, config.node_id),
            max_volumes=config.max_volumes,
            attach=config.attach,
        )
        uses, listener = self._uses(), self._listener()
        server = Server(about, uses, self._metrics.seen, listener, self._is_ready)
        await asyncio.to_thread(wait, self._adopted, self._begun + ADOPTED - time.monotonic())
        await server.start(config.endpoint)
        keeping = [asyncio.create_task(one) for one in (self._watch(server), self._hear())]
        keeping += [
            asyncio.create_task(self._tend(one)) for one in self._pools if one.name in self._tenders
        ]
        try:
            if config.metrics:
                await self._http.start(*config.metrics)
            names = ", ".join(pool.name for pool in self._pools)
            logger.info("ready", endpoint=config.endpoint, node=config.node_id, pools=names)
            self._looker.submit(Disks(self._pools, self._looker).watch)
            self._looker.submit(abilities.tell, self._pools)
            await self._announce()
            await stop.wait()
            logger.info("stopping: calls that run end first")
        finally:
            ended = time.monotonic()
            for one in keeping:
                one.cancel()
            self._http.stop()
            await server.stop(process.GRACE)
            if self._announcement:
                await self._announcement.stop()
            self._stop_copies()
            for records in (self._state.mount_records, self._state.pools):
                await asyncio.to_thread(records.flush)
        return ended

    async def _announce(self) -> None:
        """Register with kubelet, as the last step of the start: kubelet calls at once."""
        config = self._config
        if not config.kubelet_dir:
            return
        from driver.services.kubelet_registration import KubeletRegistration  # noqa: PLC0415 - where kubelet is

        socket = registration_socket(config.kubelet_dir, config.driver_name)
        self._announcement = one = KubeletRegistration(config.driver_name, config.endpoint, socket)
        self._metrics.watch(
            "cellar_kubelet_registered",
            "Whether kubelet has the driver",
            lambda: not one.problem,
        )
        await one.start()

    def _is_ready(self) -> bool:
        """Return whether each pool was found or not, or has had the time in which any disk
        answers.
        """
        late = time.monotonic() - self._begun > SILENT
        return late or all(one.done() for one in self._adopted)

    def _problem(self) -> str:
        if not self._is_ready():
            return "pools are being looked for"
        if not self._config.kubelet_dir:
            return ""
        return self._announcement.problem if self._announcement else "the driver is starting"

    def _uses(self) -> UseCases:
        config, pools = self._config, self._together
        mounts = MountRecords(self._state.mount_records)
        volumes = Provisioner(
            pools, Contents(), self._copies, time.time, attach=config.attach, mounts=mounts
        )
        mounter, health = NodeVolumes(pools, mounts, config.kubelet_dir), Health(pools, mounts)
        ephemeral = EphemeralVolumes(pools, volumes, mounter, health)
        return UseCases(
            pools=pools,
            volumes=volumes,
            publisher=ControllerPublisher(pools, config.node_id, config.max_volumes),
            node=mounter,
            ephemeral=ephemeral,
            pods=PodVolumes(mounter, ephemeral, health),
            snapshots=Snapshotter(pools, self._copies, time.time),
            modifier=Modifier(pools),
            health=health,
            changes=Changes(pools),
        )

    def _listener(self) -> Listener | None:
        config = self._config
        if not (config.listen and config.tls_dir):
            return None
        from driver.csi.admission import Admission  # noqa: PLC0415 - gRPC is there by now
        from driver.services.server import Listener  # noqa: PLC0415
        from driver.tls import identity  # noqa: PLC0415 - for nodes of a cluster only

        host, port = config.listen
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return Listener(where, identity.server_credentials(config.tls_dir), Admission())

    async def _watch(self, server: Server) -> None:
        watching = Watching(self._pools, server.running)
        text = "Calls that have been at work in the pool for over ten seconds"
        self._metrics.watch_all("cellar_pool_stuck_workers", text, "pool", watching.stuck)
        text = "How long the oldest call that is at work in the pool has been so"
        self._metrics.watch_all("cellar_pool_oldest_call_seconds", text, "pool", watching.longest)
        while True:
            await asyncio.sleep(EVERY)
            watching.look()

    async def _tend(self, pool: Pool) -> None:
        """Maintain the pool every TENDED seconds, on its own thread: if it hangs, others are not
        delayed.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TENDED)
            await loop.run_in_executor(self._tenders[pool.name], maintenance.tend, pool)

    async def _hear(self) -> None:
        """Follow the state of the pools, for the log and /readyz."""
        loop, states = asyncio.get_running_loop(), States(self._pools)
        while True:
            await loop.run_in_executor(self._looker, self._news.hear, _away(states))
            await asyncio.sleep(TENDED)

    def _copier_of(self, pool: str) -> Executor:
        return self._copiers[pool]

    def _stop_copies(self) -> None:
        self._copies.stop()
        for one in (*self._copiers.values(), *self._tenders.values()):
            one.shutdown(wait=False, cancel_futures=True)
        self._looker.shutdown(wait=False, cancel_futures=True)

    async def _show_metrics(self) -> Answer:
        """Return the metrics, made on a thread: asking a pool may hang, and nothing else should."""
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._looker, self._metrics.text)
        return Answer(HTTPStatus.OK, text, process.METRICS)


def _away(states: States) -> Iterator[PoolState]:
    """Yield the states of the pools. They are asked when the first one is read."""
    yield from (told.state for told in states.look(LISTS))


def _give_back(pools: Sequence[Pool], stuck: Sequence[str]) -> None:
    """Close the pools in which no thread is stuck: another process may have them at once.

    This process keeps its descriptors, and so its locks, for as long as one of its threads is
    in the kernel; none of them does anything more in this program. No-op if a thread is stuck
    in no pool's work: then it is not known which pool it uses.
    """
    held = {one.name for one in pools for name in stuck if thread_tag(one.name) in name}
    places = tuple(thread_tag(one.name) for one in pools)
    if any(not any(place in name for place in places) for name in stuck):
        return  # nobody knows where
    for pool in pools:
        if pool.name not in held:
            with suppress(PoolUnavailable, TimeoutError):
                pool.answers.begin(pool.backend.close).result(GIVEN_BACK)


def _not_joined(end: float) -> Sequence[str]:
    """Wait until `end` (monotonic, seconds) for all threads that Python would join at exit.

    Returns the names of those that still run.
    """
    mine = threading.current_thread()
    others = [one for one in threading.enumerate() if one is not mine and not one.daemon]
    for thread in others:
        thread.join(max(0.0, end - time.monotonic()))
    return [thread.name for thread in others if thread.is_alive()]
