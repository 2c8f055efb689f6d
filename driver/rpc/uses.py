"""The use cases that the services stand on, as the composition root hands them over."""

from __future__ import annotations

from dataclasses import dataclass

from driver.volumes.changes import Changes
from driver.volumes.health import Health
from driver.volumes.inline import Inliner
from driver.volumes.modify import Modifier
from driver.volumes.pools import Pools
from driver.volumes.provision import Provisioner
from driver.volumes.publish import Mounter, Publisher
from driver.volumes.snapshots import Snapshotter


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    pools: Pools
    volumes: Provisioner
    publisher: Publisher
    mounter: Mounter
    inline: Inliner
    snapshots: Snapshotter
    modifier: Modifier
    health: Health
    changes: Changes
