"""Claims: what changes something has it alone, what reads it shares it, what only looks needs none."""

from __future__ import annotations

from pathlib import Path

from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import CapacityRange, Limits
from driver.volumes import intents
from driver.volumes.claims import Claims
from driver.volumes.intents import Member
from tests.unit.volumes.world import BLOCK, MOUNT

VOLUME = VolumeId("a" * 12, "1" * 32)
OTHER = VolumeId("b" * 12, "2" * 32)
SNAPSHOT = SnapshotId("a" * 12, "3" * 32)
GROUP = "4" * 32
STAGING, TARGET = Path("/staging"), Path("/target")
ONLY = Claims(frozenset({VOLUME.key}))


def test_a_volume_that_is_changed_is_had_alone() -> None:
    size = CapacityRange()
    for intent in (
        intents.Of(VOLUME),
        intents.Publish(volume_id=VOLUME, node="n", read_only=False, capability=MOUNT),
        intents.Unpublish(VOLUME, None),
        intents.Expand(VOLUME, size),
        intents.Modify(VOLUME, Limits()),
        intents.NodeExpand(VOLUME, TARGET, size),
    ):
        assert intent.claims == ONLY


def test_a_path_is_had_alone_with_its_volume() -> None:
    for path, intent in (
        (STAGING, intents.Stage(volume_id=VOLUME, staging=STAGING, capability=BLOCK)),
        (STAGING, intents.Unstage(VOLUME, STAGING)),
        (
            TARGET,
            intents.NodePublish(
                volume_id=VOLUME,
                staging=STAGING,
                target=TARGET,
                read_only=False,
                capability=MOUNT,
            ),
        ),
        (TARGET, intents.NodeUnpublish(VOLUME, TARGET)),
    ):
        assert intent.claims == Claims(frozenset({VOLUME.key, f"path:{path}"}))


def test_a_source_is_shared() -> None:
    wanted = intents.Create(name="v", key=OTHER.key, range=CapacityRange(), fs=None)
    assert wanted.claims == Claims(frozenset({OTHER.key}))
    clone = intents.Create(name="v", key=OTHER.key, range=CapacityRange(), fs=None, source=VOLUME)
    assert clone.claims == Claims(frozenset({OTHER.key}), frozenset({VOLUME.key}))
    member = Member(SNAPSHOT.key, "s", VOLUME)
    assert intents.Snap(member).claims == Claims(frozenset({SNAPSHOT.key}), frozenset({VOLUME.key}))


def test_snapshots_that_are_compared_are_shared() -> None:
    other = SnapshotId(SNAPSHOT.pool, "7" * 32)
    one, both = intents.Changed(target=SNAPSHOT), intents.Changed(target=SNAPSHOT, base=other)
    assert one.claims == Claims(shared=frozenset({SNAPSHOT.key}))
    assert both.claims == Claims(shared=frozenset({SNAPSHOT.key, other.key}))


def test_a_group_has_its_members_alone_and_shares_their_sources() -> None:
    members = (Member("5" * 32, "g", VOLUME), Member("6" * 32, "g", OTHER))
    assert intents.SnapGroup(GROUP, "g", members).claims == Claims(
        frozenset({GROUP, "5" * 32, "6" * 32}), frozenset({VOLUME.key, OTHER.key})
    )
    assert intents.OfGroup(GROUP, (SNAPSHOT,)).claims == Claims(frozenset({GROUP, SNAPSHOT.key}))
    assert intents.OfSnapshot(SNAPSHOT).claims == Claims(frozenset({SNAPSHOT.key}))


def test_who_only_looks_claims_nothing() -> None:
    for intent in (
        intents.Look(VOLUME),
        intents.LookSnapshot(SNAPSHOT),
        intents.Page(),
        intents.SnapshotPage(),
        intents.Measure(),
        intents.Stats(VOLUME, TARGET),
        intents.Validate(volume_id=VOLUME, capabilities=(), context={}),
    ):
        assert intent.claims == Claims()
