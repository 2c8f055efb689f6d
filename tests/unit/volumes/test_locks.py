"""Locks."""

from __future__ import annotations

from pathlib import Path

from driver.core.ids import SnapshotId, VolumeId
from driver.volumes import node_requests, requests, snapshot_requests
from driver.volumes.locks import Locks

VOLUME = VolumeId("a" * 12, "1" * 32)
SNAPSHOT = SnapshotId("a" * 12, "3" * 32)
TARGET = Path("/target")


def test_who_only_looks_claims_nothing() -> None:
    for intent in (
        requests.GetVolume(VOLUME),
        snapshot_requests.GetSnapshot(SNAPSHOT),
        requests.ListVolumes(),
        snapshot_requests.ListSnapshots(),
        requests.GetCapacity(),
        node_requests.GetVolumeStats(VOLUME, TARGET),
        requests.ValidateCapabilities(volume_id=VOLUME, capabilities=(), context={}),
    ):
        assert intent.locks == Locks()
