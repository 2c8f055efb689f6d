"""`cellar serve`: connects the parts of a node's driver, and runs its process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import wait
from contextlib import AsyncExitStack
from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Final

from loguru import logger

from driver.app import leave, process
from driver.app.pools import disk_claims, driver_folder, open_pools, open_state
from driver.app.settings import ServeSettings
from driver.app.upkeep import Upkeep
from driver.backends.pool_threads import SILENT
from driver.core.addresses import registration_socket
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.pool import Pool
from driver.core.ports.records import NodeState
from driver.csi.topology import NodeTopology
from driver.linux import descriptors
from driver.linux.state.node_lock import lock_node
from driver.observe import log, process_metrics
from driver.observe.conditions import Conditions, Usages
from driver.observe.health_events import HealthEvents
from driver.observe.http import Answer, Http
from driver.observe.metrics import Metrics
from driver.observe.pool_log import PoolLog
from driver.observe.volume_metrics.collector import VolumeMetrics
from driver.observe.volume_metrics.survey import VolumeSurvey
from driver.services.use_cases import UseCases
from driver.volumes.contents import Contents
from driver.volumes.copies.background import BackgroundCopies
from driver.volumes.copies.changed_blocks import ChangedBlocks
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.health import Health
from driver.volumes.limit_upkeep import LimitUpkeep
from driver.volumes.modify import Modifier
from driver.volumes.node.description import Describer
from driver.volumes.node.ephemeral import EphemeralVolumes
from driver.volumes.node.mount_records import MountRecords
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node.pod_volumes import PodVolumes
from driver.volumes.pools.pending_unpublishes import PendingUnpublishes
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.publish import ControllerPublisher
from driver.volumes.space.trimming import Trimmer

if TYPE_CHECKING:
    from driver.csi.server import Listener
    from driver.services.kubelet_registration import KubeletRegistration
    from driver.services.server import DriverInfo, Server

ADOPTION_TIMEOUT: Final = 1.0  # seconds that the socket waits for pools that are being looked for


def serve(settings: ServeSettings) -> None:
    """Serve the pools of this node until SIGTERM. Raises: Invalid, Refused if the driver cannot
    start.
    """
    signals = process.Signals()
    descriptors.open_standard()
    log.set_up(settings.log_level, settings.log_format)
    descriptors.raise_limit()
    if folder := driver_folder(settings):
        lock_node(folder, settings.driver_name)
    state = open_state(settings)
    pools = open_pools(settings, state)
    stopped = process.run(_NodeDriver(settings, pools, state).live(signals))
    if stuck := leave.join_threads(stopped + leave.EXIT_TIMEOUT):
        logger.error("exited while work was still running")
        leave.close_idle_pools(pools, stuck)
        logger.remove()  # writes what is kept of the log
        os._exit(1)  # a thread that is stuck in the kernel would be joined for ever


class _NodeDriver:
    """A node's driver, from its start to its end."""

    def __init__(self, settings: ServeSettings, pools: Sequence[Pool], state: NodeState) -> None:
        self._settings = settings
        self._state = state
        self._version = metadata.version("cellar-csi")
        self._metrics = Metrics(self._version, pools)
        self._events = NodeEvents()
        health_events = HealthEvents(self._events)
        self._pool_log = PoolLog()
        records = MountRecords(state.mount_records)
        survey = VolumeSurvey(pools, records, health_events.on_volume, health_events.on_pool)
        self._upkeep = Upkeep(pools, self._metrics, self._pool_log, survey)
        self._copies = BackgroundCopies(self._upkeep.copy_executor, events=self._events)
        self._pools = Pools(pools, PendingUnpublishes(state.pools))
        self._limit_upkeep = LimitUpkeep(self._pools)
        self._names = ", ".join(pool.name for pool in pools)
        self._started = time.monotonic()
        self._adopted = self._pools.adopt()
        pages = process.health_pages(settings.endpoint, self._problem, self._pool_log.lines)
        self._http = Http({"/metrics": self._show_metrics, **pages})
        self._registration: KubeletRegistration | None = None
        self._metrics.add_gauge(
            "cellar_state_problem",
            "Whether the state directory cannot be read or written",
            lambda: bool(state.mount_records.problem or state.pools.problem),
        )
        if claims := disk_claims(settings, pools, state, self._events):
            text = "Blank disks that the pool took since the driver started"
            self._metrics.add_gauges("cellar_claimed_disks", text, "pool", claims.claimed)
        self._claims = claims
        process_metrics.add_copies(self._metrics, self._copies)
        process_metrics.add_certificates(self._metrics, settings.tls_dir)
        usages: Usages = tuple
        if settings.metrics_volumes:
            volumes = VolumeMetrics(pools, records, survey, settings.node_id)
            self._metrics.add_text(volumes.text)
            usages = volumes.usages
        self._conditions = Conditions(self._metrics, lambda: survey.faults, usages)

    async def live(self, signals: process.Signals) -> float:
        """Serve until SIGTERM, and return when that came (monotonic, seconds)."""
        stop = signals.stop_event()
        server = self._server()
        process_metrics.add_queues(self._metrics, server.waiting)
        timeout = self._started + ADOPTION_TIMEOUT - time.monotonic()
        await asyncio.to_thread(wait, self._adopted, timeout)
        await server.start(self._settings.endpoint)
        async with AsyncExitStack() as stack:  # what is pushed last is ended first
            stack.push_async_callback(self._flush_records)
            stack.callback(self._stop_copies)
            stack.push_async_callback(self._unregister)
            stack.push_async_callback(server.stop, process.GRACE)
            stack.callback(self._http.stop)
            trimming = self._upkeep.trim(server, Trimmer(self._pools), self._settings.trim_interval)
            for work in (*self._upkeep.tasks(server, self._limit_upkeep), *trimming):
                stack.callback(asyncio.create_task(work).cancel)
            if not stop.is_set():
                await self._begin()
            await stop.wait()
            logger.info("stopping: running calls end first")
            return time.monotonic()  # before anything is ended

    async def _begin(self) -> None:
        """Open the metrics' port and register with kubelet, once the socket is open."""
        settings = self._settings
        if settings.metrics:
            await self._http.start(*settings.metrics)
        logger.info("ready", endpoint=settings.endpoint, node=settings.node_id, pools=self._names)
        self._upkeep.begin()
        if self._claims:
            self._claims.start()
        await self._register()

    async def _register(self) -> None:
        """Register with kubelet, as the last step of the start: kubelet calls at once."""
        settings = self._settings
        if not settings.kubelet_dir:
            return
        from driver.services.kubelet_registration import KubeletRegistration  # noqa: PLC0415 - where kubelet is

        socket = registration_socket(settings.kubelet_dir, settings.driver_name)
        registration = KubeletRegistration(settings.driver_name, settings.endpoint, socket)
        self._registration = registration
        self._metrics.add_gauge(
            "cellar_kubelet_registered",
            "Whether kubelet has registered the driver",
            lambda: not registration.problem,
        )
        await registration.start()

    async def _unregister(self) -> None:
        if self._registration:
            await self._registration.stop()

    def _stop_copies(self) -> None:
        if self._claims:
            self._claims.stop()
        self._copies.stop()
        self._upkeep.stop()

    async def _flush_records(self) -> None:
        for records in (self._state.mount_records, self._state.pools):
            await asyncio.to_thread(records.flush)

    def _is_ready(self) -> bool:
        """Return whether each pool was found or not, or has had the time in which any disk
        answers.
        """
        late = time.monotonic() - self._started > SILENT
        return late or all(future.done() for future in self._adopted)

    def _problem(self) -> str | None:
        """Return why the driver is not ready; None: it is."""
        if not self._is_ready():
            return "pools are being searched for"
        if not self._settings.kubelet_dir:
            return None
        return self._registration.problem if self._registration else "the driver is starting"

    async def _show_metrics(self) -> Answer:
        """Return the metrics, made on a thread: asking a pool may hang, and nothing else should."""
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._upkeep.observer, self._metrics.text)
        return Answer(HTTPStatus.OK, text, process.METRICS)

    # --- the services

    def _server(self) -> Server:
        from driver.services.server import Server  # noqa: PLC0415 - gRPC comes after the pools

        return Server(
            self._driver_info(),
            self._use_cases(),
            self._metrics.on_finish,
            self._listener(),
            self._is_ready,
        )

    def _driver_info(self) -> DriverInfo:
        from driver.services.server import DriverInfo  # noqa: PLC0415 - gRPC comes after the pools

        settings = self._settings
        return DriverInfo(
            name=settings.driver_name,
            version=self._version,
            topology=NodeTopology(settings.topology_key, settings.node_id),
            max_volumes=settings.max_volumes,
            attach=settings.attach,
        )

    def _use_cases(self) -> UseCases:
        settings, pools = self._settings, self._pools
        mounts = MountRecords(self._state.mount_records)
        volumes = Provisioner(
            pools, Contents(), self._copies, time.time, attach=settings.attach, mounts=mounts
        )
        node, health = NodeVolumes(pools, mounts, settings.kubelet_dir), Health(pools, mounts)
        ephemeral = EphemeralVolumes(pools, volumes, node, health)
        return UseCases(
            pools=pools,
            volumes=volumes,
            publisher=ControllerPublisher(pools, settings.node_id, settings.max_volumes),
            node=node,
            ephemeral=ephemeral,
            pods=PodVolumes(node, ephemeral, health),
            snapshots=Snapshotter(pools, self._copies, time.time),
            modifier=Modifier(pools),
            health=health,
            changes=ChangedBlocks(pools),
            events=self._events,
            describer=Describer(pools, mounts),
            copies=self._copies.running,
            conditions=self._conditions.read,
        )

    def _listener(self) -> Listener | None:
        """Return the port for routers, if one is configured."""
        settings = self._settings
        if not (settings.listen and settings.tls_dir):
            return None
        from driver.csi.admission import Admission  # noqa: PLC0415 - gRPC is there by now
        from driver.csi.server import Listener  # noqa: PLC0415
        from driver.tls import identity  # noqa: PLC0415 - for nodes of a cluster only

        host, port = settings.listen
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = identity.server_credentials(settings.tls_dir)
        return Listener(address, credentials, Admission())
