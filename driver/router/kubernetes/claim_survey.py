"""Periodically compares the volumes of all nodes with the PersistentVolumes in the API server.

A volume without a PersistentVolume is an orphan. If a PersistentVolume is bound to another claim
than the volume's record names, the record is updated; the names in it are for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from loguru import logger

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import CellarError, Unsupported
from driver.router.kubernetes.api import Api, ApiError
from driver.router.kubernetes.orphans import Orphans
from driver.router.kubernetes.persistent_volumes import PersistentVolume, persistent_volumes
from driver.router.nodes.calls import ask
from driver.router.nodes.connection import NodeConnection
from driver.router.nodes.listed_volumes import ListedVolume, NodeVolumes, list_volumes
from driver.router.nodes.registry import Nodes

INTERVAL: Final = 300.0  # seconds between two surveys, or more often:
PARTS: Final = 3  # surveys at least before a volume counts as an orphan


def interval(orphans_after: float) -> float:
    """Return how many seconds to wait between two comparisons of the volumes with the
    PersistentVolumes, if a volume counts as an orphan after `orphans_after` seconds.
    """
    return max(1.0, min(INTERVAL, orphans_after / PARTS))


class ClaimSurvey:
    """Compares the volumes of all nodes with the PersistentVolumes of the driver `driver`: finds
    the volumes that have no PersistentVolume (`orphans`), and updates the claims' names in the
    volumes' records.
    """

    def __init__(self, api: Api, driver: str, orphans: Orphans, interval: float) -> None:
        self._api = api
        self._driver = driver
        self._orphans = orphans
        self._interval = interval
        self._known: dict[str, PersistentVolume] = {}  # by the id of the volume

    async def repeat(self, nodes: Nodes) -> None:
        """Compare the volumes of all reachable nodes with the PersistentVolumes periodically, until
        cancelled. An error that repeats is logged once, until a comparison succeeds.
        """
        problem = ""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.survey(nodes)
            except ApiError as error:
                if str(error) != problem:
                    problem = str(error)
                    logger.warning("volumes were not compared with PersistentVolumes: {}", problem)
            else:
                problem = ""

    async def survey(self, nodes: Nodes) -> None:
        """Compare the volumes of all reachable nodes with the PersistentVolumes once, one node
        after the other. Raises: ApiError.
        """
        persistent = await persistent_volumes(self._api, self._driver)
        self._known = {key: known for key, known in self._known.items() if key in persistent}
        for node in nodes.reachable():
            try:
                listed = await list_volumes(node, nodes.duplicated_pools())
            except CellarError as error:
                logger.debug("the volumes of node {} were not listed: {}", node.name, error)
                continue
            self._orphans.observe(listed, persistent)
            await self._update_names(node, listed, persistent)
        self._orphans.drop_other_pools({pool for node in nodes.all() for pool in node.pool_ids})

    async def _update_names(
        self, node: NodeConnection, listed: NodeVolumes, named: Mapping[str, PersistentVolume]
    ) -> None:
        """Write the names of the node's volumes to their records, if they differ. Each is written
        once only, because some records have no space for names.
        """
        for volume in listed.volumes:
            known = named.get(volume.id)
            if not (known and known.claim) or known == _known_names(volume):
                continue
            if self._known.get(volume.id) == known:
                continue
            try:
                await _set_names(node, volume.id, known)
            except Unsupported:  # an older version
                return
            except CellarError as error:
                logger.debug("the names of volume {} were not updated: {}", volume.id, error)
            else:
                self._known[volume.id] = known


def _known_names(volume: ListedVolume) -> PersistentVolume:
    return PersistentVolume(volume.persistent, volume.namespace, volume.claim)


async def _set_names(node: NodeConnection, volume_id: str, named: PersistentVolume) -> None:
    """Write the names to the volume's record on its node. Raises: Unsupported; other CellarErrors,
    as Busy.
    """
    request = cellar.SetNamesRequest(
        volume_id=volume_id, namespace=named.namespace, claim=named.claim, persistent=named.name
    )
    await ask(node, lambda node: node.peer().SetNames, request)
    logger.info("volume {} is of claim {}/{} now", volume_id, named.namespace, named.claim)
