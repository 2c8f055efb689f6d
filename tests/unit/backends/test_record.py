"""A record survives its round trip, and what is not one of ours is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.backends import record
from driver.core.errors import Damaged
from driver.core.ids import SnapshotId, VolumeId
from driver.core.model import (
    NO_OBJECTS,
    AccessMode,
    Allocation,
    FsType,
    Inline,
    Limits,
    ObjectNames,
    Publication,
    Snapshot,
    Volume,
    VolumeOptions,
)

hexes = st.text("0123456789abcdef", min_size=32, max_size=32)
pools = st.text("0123456789abcdef", min_size=12, max_size=12)
volume_ids = st.builds(VolumeId, pools, hexes)
snapshot_ids = st.builds(SnapshotId, pools, hexes)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
sizes = st.integers(1, 1 << 62)

labels = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?", fullmatch=True)
objects = st.just(NO_OBJECTS) | st.builds(ObjectNames, labels, labels, st.just("") | labels)

volumes = st.builds(
    Volume,
    id=volume_ids,
    name=names,
    size=sizes,
    fs=st.none() | st.sampled_from(FsType),
    allocation=st.sampled_from(Allocation),
    block_size=st.sampled_from([512, 4096]),
    source=st.none() | volume_ids | snapshot_ids,
    options=st.builds(
        VolumeOptions, mkfs_options=st.sampled_from([(), ("-m", "0"), ("-E", "stride=4")])
    ),
    formatted=st.booleans(),
    limits=st.builds(Limits, *[st.integers(0, 1 << 40)] * 4),
    published=st.none(),
    luks_key_id=st.none() | st.just("k1"),
    needs_new_uuid=st.booleans(),
    inline=st.none() | st.sampled_from(Inline),
    held=st.booleans(),
    objects=objects,
    created=st.floats(0, 1e10),
    incarnation=hexes,
)
snapshots = st.builds(
    Snapshot,
    id=snapshot_ids,
    name=names,
    size=sizes,
    source=volume_ids,
    created=st.floats(0, 1e10),
    fs=st.none() | st.sampled_from(FsType),
    allocation=st.sampled_from(Allocation),
    block_size=st.sampled_from([512, 4096]),
    luks_key_id=st.none() | st.just("k1"),
    unformatted=st.booleans(),
    group=st.none() | hexes,
    group_name=st.just("") | names,
    members=st.lists(snapshot_ids, max_size=3).map(tuple),
    objects=objects,
    incarnation=hexes,
)


@given(volumes | snapshots)
def test_an_image_survives_the_round_trip(image: Volume | Snapshot) -> None:
    assert record.from_json(record.to_json(image)) == image


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_what_is_not_a_record_is_damaged(text: bytes) -> None:
    with pytest.raises(Damaged):
        record.from_json(text)


@given(volumes, st.data())
def test_a_record_that_lacks_a_field_is_damaged(volume: Volume, data: st.DataObject) -> None:
    flat = record.encode(volume)
    del flat[data.draw(st.sampled_from(["id", "name", "size", "allocation", "incarnation"]))]
    with pytest.raises(Damaged):
        record.decode(flat)


@given(volumes)
def test_only_a_held_volume_has_the_newer_schema_and_no_other_record_may_have_it(
    volume: Volume,
) -> None:
    held = record.encode(replace(volume, held=True))
    free = record.encode(replace(volume, held=False))
    assert (held["schema"], free["schema"]) == ("2", "1")
    assert {key: held[key] for key in free} == free | {"schema": "2"}
    with pytest.raises(record.Newer):
        record.decode(free | {"schema": "2"})


@given(volumes)
def test_a_newer_schema_is_refused_with_the_cure(volume: Volume) -> None:
    flat = record.encode(volume) | {"schema": str(record.SCHEMA_HELD + 1)}
    with pytest.raises(Damaged, match="upgrade"):
        record.decode(flat)


@given(volumes, st.data())
def test_a_record_with_a_value_of_another_kind_is_damaged(
    volume: Volume, data: st.DataObject
) -> None:
    flat: dict[str, object] = dict(record.encode(volume))
    key = data.draw(st.sampled_from(["id", "size", "allocation", "created"]))
    flat[key] = data.draw(st.sampled_from([[], {}, None, True, -1, "", "inf", "../x"]))
    with pytest.raises(Damaged):
        record.from_json(json.dumps(flat).encode())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"schema": 1e999}'])
def test_what_cannot_be_parsed_is_damaged_and_nothing_worse(text: str) -> None:
    with pytest.raises(Damaged):
        record.from_json(text.encode())


@given(snapshots, st.integers(record.SCHEMA_HELD + 1, 99))
def test_a_newer_record_tells_what_it_is_of(snapshot: Snapshot, schema: int) -> None:
    flat: dict[str, object] = {**record.encode(snapshot), "schema": schema, "more": [1, {}]}
    text = json.dumps(flat).encode()
    with pytest.raises(record.Newer) as caught:
        record.from_json(text)
    found = record.unreadable(str(snapshot.id), text, caught.value, 5)
    assert (found.id, found.source, found.size) == (snapshot.id, snapshot.source, 5)
    assert (found.group or None, found.created) == (snapshot.group or None, snapshot.created)
    assert f"schema {schema}" in found.why
    assert "upgrade" in found.why


@given(st.text(min_size=1), st.booleans(), st.sampled_from(AccessMode))
def test_a_publication_survives_the_round_trip(node: str, ro: bool, mode: AccessMode) -> None:
    publication = Publication(node, ro, mode)
    assert record.publication_from_json(record.publication_to_json(publication)) == publication


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'"x"', b"\0\0\0\0"])
def test_what_a_power_cut_leaves_of_a_publication_is_none(text: bytes) -> None:
    assert record.publication_from_json(text) is None


def test_values_are_short_strings_for_tags() -> None:
    volume = Volume(
        id=VolumeId("a" * 12, "b" * 32),
        name="pvc-1",
        size=1 << 30,
        fs=FsType.EXT4,
        allocation=Allocation.THICK,
        block_size=4096,
        incarnation="0" * 16,
    )
    flat = json.loads(record.to_json(volume))
    assert all(isinstance(value, str) for value in flat.values())
    assert "source" not in flat
    assert "limits" not in flat
