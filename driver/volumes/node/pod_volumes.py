"""Dispatches a request of the Node service to the use cases of persistent or of inline volumes."""

from __future__ import annotations

from driver.core.faults import Fault
from driver.core.results import VolumeStats
from driver.volumes.health import Health
from driver.volumes.node.ephemeral import EphemeralVolumes
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node_requests import (
    GetVolumeStats,
    InlinePublish,
    InlineStats,
    InlineUnpublish,
    NodePublish,
    NodeUnpublish,
)


class PodVolumes:
    """The calls of the Node service that concern a persistent volume or an inline one.

    Each method passes the request on to `NodeVolumes` or `Health` for a persistent volume, to
    `EphemeralVolumes` for an inline one, and raises their errors.
    """

    def __init__(
        self, persistent: NodeVolumes, ephemeral: EphemeralVolumes, health: Health
    ) -> None:
        self._persistent = persistent
        self._ephemeral = ephemeral
        self._health = health

    def publish(self, request: NodePublish | InlinePublish) -> None:
        """Publish a volume at its target path; an inline volume is also created."""
        if isinstance(request, InlinePublish):
            self._ephemeral.publish(request)
        else:
            self._persistent.publish(request)

    def unpublish(self, request: NodeUnpublish | InlineUnpublish) -> None:
        """Unpublish a volume from its target path; an inline volume is also deleted."""
        if isinstance(request, InlineUnpublish):
            self._ephemeral.unpublish(request)
        else:
            self._persistent.unpublish(request)

    def stats(self, request: GetVolumeStats | InlineStats) -> VolumeStats:
        """Return the usage and the faults of a volume."""
        if isinstance(request, InlineStats):
            return self._ephemeral.stats(request)
        return self._persistent.stats(request)

    def faults(self, request: GetVolumeStats | InlineStats) -> tuple[Fault, ...]:
        """Return the faults of a volume, at the path where it is published if one is given."""
        if isinstance(request, InlineStats):
            return self._ephemeral.faults(request)
        return self._health.at(request)
