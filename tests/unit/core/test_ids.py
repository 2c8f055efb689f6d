"""Ids: what is made can be read back, what could not have been made names nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core import ids
from driver.core.errors import NotFound
from driver.core.ids import SnapshotId, VolumeId

POOLS = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)
KEYS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
NAMES = st.text(min_size=1, max_size=128)
MAKERS = (ids.volume_key, lambda text: ids.InlineHandle(text).key, ids.snapshot_key, ids.group_key)
PARSERS = (ids.parse_volume_id, ids.parse_snapshot_id, ids.parse_group_id)

FOREIGN = [
    "",
    "pvc-1",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "-rf",
    "0123456789ab",
    "0123456789ab-",
    f"0123456789ab-{'0' * 31}",
    f"0123456789ab-{'0' * 33}",
    f"0123456789AB-{'0' * 32}",
    f"0123456789ab-{'0' * 32}\n",
    f" 0123456789ab-{'0' * 32}",
    f"0123456789ab-{'0' * 31}/",
    f"0123456789ab-{'٣' * 32}",  # digits to str.isdigit, not to us
    f"{'0' * 31}\n",
    "x" * 100_000,
]


@given(POOLS, KEYS)
def test_an_id_of_ours_survives_being_written_and_read(pool: str, key: str) -> None:
    assert ids.parse_volume_id(str(VolumeId(pool, key))) == VolumeId(pool, key)
    assert ids.parse_snapshot_id(str(SnapshotId(pool, key))) == SnapshotId(pool, key)
    assert ids.parse_group_id(key) == key


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("parse", PARSERS)
def test_an_id_of_foreign_form_names_nothing(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(NotFound):
        parse(text)


@given(st.text(max_size=60))
def test_whatever_is_accepted_is_one_plain_word(text: str) -> None:
    try:
        parsed = ids.parse_volume_id(text)
    except NotFound:
        return
    assert str(parsed) == text == PurePath(text).name


@given(NAMES)
def test_a_name_always_gives_the_same_key_of_32_hex_digits(name: str) -> None:
    for make in MAKERS:
        assert make(name) == make(name) == ids.parse_group_id(make(name))


@given(NAMES)
def test_equal_names_of_different_kinds_never_meet(name: str) -> None:
    assert len({make(name) for make in MAKERS}) == len(MAKERS)


@given(NAMES, NAMES)
def test_different_names_have_different_keys(one: str, another: str) -> None:
    assert (ids.volume_key(one) == ids.volume_key(another)) is (one == another)


def test_the_key_of_a_name_never_changes_between_versions() -> None:
    """These stand in PersistentVolumes: another hash would lose every volume on a retry."""
    assert ids.volume_key("pvc-1") == "a6e1b97f35f15e735b4e2ed14ffcd254"
    assert ids.snapshot_key("pvc-1") == "e0b39b0976617605dbcc645443a8afdc"
    assert ids.group_key("pvc-1") == "5ef2314a0d75214afb1d46da13515593"
    assert (
        ids.member_key("0" * 32, VolumeId("0" * 12, "1" * 32)) == "c9b44582886f7946c2b0810ea9f3e418"
    )


def test_bytes_that_look_alike_are_not_the_same_name() -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    assert ids.volume_key(composed) != ids.volume_key(decomposed)


def test_a_lone_surrogate_has_a_key_too() -> None:
    assert ids.parse_group_id(ids.volume_key("\ud800"))


def test_members_of_a_group_differ_by_source_and_by_group() -> None:
    sources = [VolumeId("0" * 12, digit * 32) for digit in "12"]
    keys = {ids.member_key(group * 32, source) for group in "ab" for source in sources}
    assert len(keys) == 4


def test_a_volume_and_a_snapshot_of_equal_text_are_not_equal() -> None:
    volume, snapshot = VolumeId("0" * 12, "1" * 32), SnapshotId("0" * 12, "1" * 32)
    assert str(volume) == str(snapshot)
    assert len({volume, snapshot}) == 2


def test_new_pools_and_new_lives_get_ids_of_their_own() -> None:
    pools = {ids.new_pool_id() for _ in range(100)}
    lives = {ids.new_incarnation() for _ in range(100)}
    assert len(pools) == len(lives) == 100
    assert {len(one) for one in pools} == {12} and {len(one) for one in lives} == {16}
    assert ids.parse_volume_id(f"{min(pools)}-{'0' * 32}").pool == min(pools)


def test_digests_of_names_are_the_start_of_the_key_and_survive_the_way() -> None:
    keys = [ids.volume_key(f"pvc-{number}") for number in range(100)]
    digests = {ids.name_digest(key) for key in keys}
    assert len(digests) == len(keys)
    packed = ids.pack_digests(digests)
    assert len(packed) == 8 * len(keys)
    assert set(ids.unpack_digests(packed)) == digests
    assert ids.pack_digests([ids.name_digest(keys[0])]).hex() == keys[0][:16]
    assert ids.unpack_digests(b"") == ()
    assert ids.unpack_digests(ids.pack_digests([7]) + b"abc") == (7,)
