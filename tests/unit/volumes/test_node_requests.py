"""What the requests of the Node service lock."""

from __future__ import annotations

from pathlib import Path

from driver.core.ids import VolumeId
from driver.volumes import node_requests
from driver.volumes.locks import Locks
from tests.unit.volumes.world import BLOCK, MOUNT

VOLUME = VolumeId("a" * 12, "1" * 32)
STAGING = Path("/staging")
TARGET = Path("/target")


def test_a_path_is_had_alone_with_its_volume() -> None:
    for path, intent in (
        (STAGING, node_requests.Stage(volume_id=VOLUME, staging=STAGING, capability=BLOCK)),
        (STAGING, node_requests.Unstage(VOLUME, STAGING)),
        (
            TARGET,
            node_requests.NodePublish(
                volume_id=VOLUME,
                staging=STAGING,
                target=TARGET,
                read_only=False,
                capability=MOUNT,
            ),
        ),
        (TARGET, node_requests.NodeUnpublish(VOLUME, TARGET)),
    ):
        assert intent.locks == Locks(frozenset({VOLUME.key, f"path:{path}"}))
