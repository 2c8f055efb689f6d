"""General limits of fields, and paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_proto import csi_pb2 as csi
from driver.core.errors import Invalid, NotFound, Refused
from driver.csi.checks import field_limits

BANNED = [*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)]


@given(st.text(max_size=128))
def test_a_name_is_any_text_of_128_bytes_without_control_characters(text: str) -> None:
    good = len(text.encode()) <= 128 and not any(ord(char) in BANNED for char in text)
    try:
        field_limits.check(csi.CreateVolumeRequest(name=text))
    except Invalid:
        assert not good
    else:
        assert good


def test_128_bytes_are_accepted_and_129_are_not() -> None:
    field_limits.check(csi.CreateVolumeRequest(name="ä" * 64))
    with pytest.raises(Invalid, match="name is longer than 128 bytes"):
        field_limits.check(csi.CreateVolumeRequest(name="ä" * 64 + "b"))


@pytest.mark.parametrize("code", BANNED)
def test_each_banned_character_is_refused_wherever_it_stands(code: int) -> None:
    for request in (
        csi.CreateVolumeRequest(name=f"a{chr(code)}"),
        csi.DeleteVolumeRequest(volume_id=chr(code)),
        csi.NodeStageVolumeRequest(staging_target_path=f"/a{chr(code)}"),
        csi.CreateVolumeGroupSnapshotRequest(source_volume_ids=["a", f"b{chr(code)}"]),
    ):
        with pytest.raises(Invalid, match="contains a control character"):
            field_limits.check(request)


def test_whitespace_of_every_day_is_not_banned() -> None:
    field_limits.check(csi.CreateVolumeRequest(name="a b\tc\nd\re"))


def test_limits_hold_at_any_depth_and_the_field_is_named() -> None:
    mount = csi.VolumeCapability.MountVolume(fs_type="x" * 129)
    request = csi.CreateVolumeRequest(volume_capabilities=[csi.VolumeCapability(mount=mount)])
    with pytest.raises(Invalid, match=r"^volume_capabilities\[\]\.mount\.fs_type is longer"):
        field_limits.check(request)


def test_a_map_has_4_kib() -> None:
    field_limits.check(csi.CreateVolumeRequest(parameters={"k" * 96: "v" * 4000}))
    with pytest.raises(Invalid, match="parameters is longer than 4096 bytes"):
        field_limits.check(csi.CreateVolumeRequest(parameters={"k" * 97: "v" * 4000}))


def test_a_secret_that_is_too_long_is_not_repeated() -> None:
    with pytest.raises(Invalid) as caught:
        field_limits.check(csi.CreateVolumeRequest(secrets={"passphrase": "hunter2" * 1000}))
    assert "hunter2" not in str(caught.value)


def test_mount_flags_have_4_kib_together() -> None:
    def request(flags: list[str]) -> csi.NodeStageVolumeRequest:
        mount = csi.VolumeCapability.MountVolume(mount_flags=flags)
        return csi.NodeStageVolumeRequest(volume_capability=csi.VolumeCapability(mount=mount))

    field_limits.check(request(["x" * 2048] * 2))
    with pytest.raises(Invalid, match="mount_flags are longer than 4096 bytes together"):
        field_limits.check(request(["x" * 2049] * 2))


def test_paths_and_node_ids_have_limits_of_their_own() -> None:
    field_limits.check(csi.NodeUnstageVolumeRequest(staging_target_path="/" + "x" * 4094))
    field_limits.check(csi.ControllerPublishVolumeRequest(node_id="x" * 256))
    with pytest.raises(Invalid, match="staging_target_path is longer than 4095"):
        field_limits.check(csi.NodeUnstageVolumeRequest(staging_target_path="/" + "x" * 4095))
    with pytest.raises(Invalid, match="node_id is longer than 256"):
        field_limits.check(csi.ControllerPublishVolumeRequest(node_id="x" * 257))


@pytest.mark.parametrize(
    ("text", "shortest"),
    [("/a", "/a"), ("/a/", "/a"), ("//a//b", "/a/b"), ("/./a/./b/.", "/a/b"), ("/a/...", "/a/...")],
)
def test_a_path_has_one_shortest_form(text: str, shortest: str) -> None:
    assert field_limits.path(text, "target_path") == Path(shortest)


@pytest.mark.parametrize(
    "text", ["", "a", "-o", "a/b", "/..", "/a/../b", "../a", "/", "//", "/.", "/" + "x" * 256]
)
def test_a_path_that_could_be_another_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="target_path"):
        field_limits.path(text, "target_path")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=64))
def test_an_accepted_path_is_absolute_and_stays_as_it_is(text: str) -> None:
    try:
        path = field_limits.path(text, "f")
    except Invalid:
        return
    assert path.is_absolute()
    assert ".." not in path.parts
    assert field_limits.path(str(path), "f") == path


def test_no_staging_path_has_a_code_of_its_own() -> None:
    with pytest.raises(Refused, match="staging_target_path"):
        field_limits.staging_path("")
    assert field_limits.staging_path("/s") == Path("/s")


def test_at_a_path_that_none_can_have_there_is_no_volume() -> None:
    with pytest.raises(NotFound, match="volume_path"):
        field_limits.volume_path("some/path")


def test_an_optional_path_may_be_missing() -> None:
    assert field_limits.optional_path("", "p") is None
    assert field_limits.optional_path("/p", "p") == Path("/p")
