"""An image as LVM tags: nothing is lost, LVM takes every character, and it is short."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.backends.lvm import tags
from driver.core.errors import Damaged
from driver.core.ids import SnapshotId, VolumeId, member_key, snapshot_key, volume_key
from driver.core.model import (
    MIB,
    AccessMode,
    Allocation,
    FsType,
    Image,
    Inline,
    Limits,
    ObjectNames,
    Publication,
    Snapshot,
    Volume,
    VolumeOptions,
)

POOL = "0123456789ab"
TAG = re.compile(r"[A-Za-z0-9_+.\-/=!:#&]{1,1024}")  # lvm(8), VALID NAMES
NAME = "pvc-0c5f5b1e-3f0e-4d5e-9b3a-0123456789ab"
VOLUME = Volume(
    id=VolumeId(POOL, volume_key(NAME)),
    name=NAME,
    size=8 * MIB,
    fs=FsType.XFS,
    allocation=Allocation.THICK,
    block_size=4096,
    formatted=True,
    created=1795267168.831757,
    incarnation="0123456789abcdef",
)
SNAPSHOT = Snapshot(
    id=SnapshotId(POOL, snapshot_key("s")),
    name="snapshot-0c5f5b1e-3f0e-4d5e-9b3a-0123456789ab",
    size=8 * MIB,
    source=VOLUME.id,
    created=1795267168.831757,
    fs=FsType.XFS,
    allocation=Allocation.THIN,
    block_size=4096,
    incarnation="0123456789abcdef",
)


def back(image: Image, cost: int = 0) -> tuple[Image, int]:
    encoded = tags.encode(image, cost)
    assert all(TAG.fullmatch(tag) for tag in encoded)
    assert tags.own_tags([*encoded, "admins.own", tags.BUILDING]) == set(encoded)
    return tags.decode(tags.lv_name(image.id), image.size, [*encoded, "admins.own"])


def members(count: int) -> tuple[SnapshotId, ...]:
    return tuple(
        SnapshotId(POOL, member_key("g", VolumeId(POOL, volume_key(str(number)))))
        for number in range(count)
    )


@pytest.mark.parametrize(
    "image",
    [
        VOLUME,
        replace(VOLUME, fs=None, formatted=False, source=SNAPSHOT.id),
        replace(VOLUME, source=VolumeId("f" * 12, volume_key("elsewhere")), luks_key_id="k:1 ,%ä"),
        replace(
            VOLUME,
            limits=Limits(1, 2, 3, 4),
            options=VolumeOptions(mkfs_options=("-i", "size=1024")),
        ),
        replace(
            VOLUME,
            published=Publication("node-1.example", True, AccessMode.SINGLE_NODE_SINGLE_WRITER),
        ),
        replace(VOLUME, name=f"csi-{'0f' * 32}", inline=Inline.MOUNTED),
        SNAPSHOT,
        replace(SNAPSHOT, group="2" * 32, group_name="g&=#:", members=members(3)),
        replace(SNAPSHOT, group="2" * 32, members=members(100)),
    ],
)
def test_nothing_of_an_image_is_lost(image: Image) -> None:
    assert back(image) == (image, 0)


@given(st.text(min_size=1, max_size=128).filter(lambda name: len(name.encode()) <= 128))
def test_every_name_comes_back(name: str) -> None:
    assert back(replace(VOLUME, name=name))[0].name == name


def test_what_a_snapshot_was_charged_comes_back() -> None:
    assert back(SNAPSHOT, 3 * MIB) == (SNAPSHOT, 3 * MIB)


def test_usual_images_have_no_more_than_two_hundred_bytes_of_tags() -> None:
    published = Publication("worker-17.example.com", False, AccessMode.SINGLE_NODE_WRITER)
    for image in (
        replace(VOLUME, source=SNAPSHOT.id),
        SNAPSHOT,
        replace(VOLUME, published=published),
    ):
        assert sum(len(tag) for tag in tags.encode(image, 1 << 40)) <= 200


def test_the_names_in_kubernetes_come_back_within_two_hundred_bytes() -> None:
    published = Publication("worker-17.example.com", False, AccessMode.SINGLE_NODE_WRITER)
    objects = ObjectNames("production", "data-postgres-0")
    volume = replace(VOLUME, objects=objects, published=published)
    assert back(volume) == (volume, 0)
    assert sum(map(len, tags.encode(volume))) <= 200
    snapshot = replace(SNAPSHOT, objects=ObjectNames("shop", "b", "another-name"))
    assert back(snapshot) == (snapshot, 0)


def test_names_that_are_too_long_are_left_out_whole() -> None:
    volume = replace(VOLUME, objects=ObjectNames("production", "c" * 63))
    assert back(volume) == (VOLUME, 0)
    assert tags.encode(volume) == tags.encode(VOLUME)


def test_names_that_cannot_be_read_damage_nothing() -> None:
    encoded = [*tags.encode(VOLUME), "cellar.k=#FF/a"]
    assert tags.decode(tags.lv_name(VOLUME.id), VOLUME.size, encoded) == (VOLUME, 0)


def test_an_owner_is_found_among_other_tags() -> None:
    tag = tags.owner_tag("cellar.csi.internal")
    assert TAG.fullmatch(tag)
    assert tags.find_owner(["x", tag]) == "cellar.csi.internal"
    assert tags.find_owner(["x"]) is None


@pytest.mark.parametrize(
    "encoded", [[], ["cellar.0="], ["cellar.0=s1&kv"], ["cellar.0=zz"], ["cellar.0=s99&kvolume&nx"]]
)
def test_tags_that_lack_something_are_damaged(encoded: list[str]) -> None:
    with pytest.raises(Damaged):
        tags.decode(tags.lv_name(VOLUME.id), VOLUME.size, encoded)


@pytest.mark.parametrize("mode", AccessMode)
def test_every_access_mode_comes_back_from_its_short_name(mode: AccessMode) -> None:
    published = Publication("n", False, mode)
    assert back(replace(VOLUME, published=published)) == (replace(VOLUME, published=published), 0)
    assert tags.encode(replace(VOLUME, published=published))[-1].count("_") == 0
    assert tags.published_to([f"cellar.p=n:0:{mode.name}"])[1] == "n"
