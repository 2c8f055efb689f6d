"""The use cases that the services call, as `driver.app` creates them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from driver.core.ports.conditions import ReadConditions, no_conditions
from driver.core.ports.node_events import NodeEvents
from driver.volumes.copies.background import CopyProgress
from driver.volumes.copies.changed_blocks import ChangedBlocks
from driver.volumes.copies.snapshots import Snapshotter
from driver.volumes.health import Health
from driver.volumes.modify import Modifier
from driver.volumes.node.description import Describer
from driver.volumes.node.ephemeral import EphemeralVolumes
from driver.volumes.node.node_volumes import NodeVolumes
from driver.volumes.node.pod_volumes import PodVolumes
from driver.volumes.pools.registry import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.publish import ControllerPublisher


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """The objects that carry out the requests which the gRPC services receive, one object for each
    kind of request.
    """

    pools: Pools
    volumes: Provisioner
    publisher: ControllerPublisher
    node: NodeVolumes
    ephemeral: EphemeralVolumes
    pods: PodVolumes
    snapshots: Snapshotter
    modifier: Modifier
    health: Health
    changes: ChangedBlocks
    describer: Describer
    copies: Callable[[], Sequence[CopyProgress]] = tuple
    conditions: ReadConditions = no_conditions
    events: NodeEvents = field(default_factory=NodeEvents)
