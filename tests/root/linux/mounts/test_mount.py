"""Real mounts: what is asked is what mountinfo shows."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from driver.core.errors import Invalid
from driver.core.model import FsType
from driver.core.options import mount_options
from driver.core.options.mount_settings import SETTINGS, Setting
from driver.linux.host import LinuxHost
from driver.linux.mounts import mount
from driver.linux.mounts.table import mount_entry, mount_table
from tests.root.linux.conftest import Attach, Volume


def test_a_mounted_filesystem_shows_its_device(volume: Volume) -> None:
    [layer] = mount_table.at(volume.target)
    assert (layer.fs_type, layer.root) == (volume.fs, "/")
    assert mount_entry.device_number(layer) == volume.status.number
    assert "ro" not in layer.options


def test_options_and_flags_reach_the_kernel(fs: FsType, attach: Attach) -> None:
    volume = attach(fs, mounted=False)
    volume.target.mkdir()
    words = ["noatime", "nodev", "discard", "x-for-people"]
    mount.mount(volume.status.path, volume.target, fs, words, read_only=True)
    [layer] = mount_table.at(volume.target)
    assert {"ro", "noatime", "nodev"} <= layer.options
    assert {"ro", "discard"} <= layer.super_options


def test_the_error_of_the_kernel_comes_through(fs: FsType, attach: Attach) -> None:
    volume = attach(fs, mounted=False)
    volume.target.mkdir()
    with pytest.raises(OSError) as caught:
        mount.mount(volume.status.path, volume.target, fs, ["nonsense"], read_only=False)
    assert caught.value.errno == errno.EINVAL
    assert mount_table.at(volume.target) == ()


def test_a_bind_shows_the_same_device(volume: Volume, tmp_path: Path) -> None:
    place = tmp_path / "bind"
    place.mkdir()
    mount.bind(volume.target, place, read_only=False)
    (place / "file").write_text("x")
    [layer] = mount_table.at(place)
    assert mount_entry.device_number(layer) == volume.status.number
    mount.unmount(place)
    assert (volume.target / "file").read_text() == "x"


def test_a_read_only_bind_is_read_only_and_keeps_its_flags(volume: Volume, tmp_path: Path) -> None:
    place, again = tmp_path / "bind", tmp_path / "again"
    place.mkdir()
    again.mkdir()
    subprocess.run(["mount", "--bind", volume.target, place], check=True)
    options = "remount,bind,nosuid,nodev,noexec,noatime"
    subprocess.run(["mount", "-o", options, place], check=True)
    mount.bind(place, again, read_only=True)
    try:
        [layer] = mount_table.at(again)
        assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= layer.options
        with pytest.raises(OSError) as caught:
            (again / "file").write_text("x")
        assert caught.value.errno == errno.EROFS
        (volume.target / "file").write_text("still writable here")
    finally:
        mount.unmount(again)
        mount.unmount(place)


def test_layers_are_taken_down_one_by_one(volume: Volume, tmp_path: Path) -> None:
    """Where mounts are shared, a bind over a bind is stacked on its source too, and goes again."""
    place = tmp_path / "stack"
    place.mkdir()
    for _ in range(3):
        mount.bind(volume.target, place, read_only=False)
    counts = [len(mount_table.at(place))]
    while counts[-1]:
        mount.unmount(place)
        counts.append(len(mount_table.at(place)))
    assert counts[0] >= 3
    assert counts == sorted(set(counts), reverse=True)
    assert len(mount_table.at(volume.target)) == 1
    mount.unmount(place)
    mount.unmount(tmp_path / "missing")


def test_a_busy_mount_stays(volume: Volume) -> None:
    with (volume.target / "file").open("w"), pytest.raises(OSError) as caught:
        mount.unmount(volume.target)
    assert caught.value.errno == errno.EBUSY
    assert len(mount_table.at(volume.target)) == 1


NUMBERS = {"stripe": "16", "sunit": "8", "swidth": "16", "logbufs": "4", "mb_optimize_scan": "0"}
SIZES = {"logbsize": "64k", "allocsize": "1m", "max_inline": "1024"}
WORDS = sorted(set(mount_options._WORDS) - {"ro", "sync", "dirsync"})


def forms(setting: Setting) -> list[str]:
    found = [word for word in setting.words if ":" not in word or word.endswith((":1", ":9"))]
    if setting.number:
        found.append(f"{setting.name}={NUMBERS.get(setting.name, 7)}")
    if setting.size:
        found.append(f"{setting.name}={SIZES[setting.name]}")
    return found


def test_each_option_is_found_again_on_the_mount_and_missed_where_it_is_not(
    fs: FsType, attach: Attach
) -> None:
    """A repeated NodeStageVolume is OK with the same options, and only with them."""
    host, volume = LinuxHost(), attach(fs, mounted=False)
    for setting in SETTINGS[fs]:
        for option in forms(setting):
            try:
                host.mount(volume.device, volume.target, fs, [option], read_only=False)
            except Invalid:  # an older or a newer kernel, or another mkfs
                continue
            place = host.mounted_at(volume.target)
            host.unmount(volume.target)
            assert place
            shown = place.options
            assert not mount_options.differences(fs, [option], shown, discards=True), option
            asked_for = setting.value(option) != setting.absent
            if setting.reported and not setting.chosen and asked_for:
                assert mount_options.differences(fs, [], shown, discards=True), option


@pytest.mark.parametrize("word", WORDS)
def test_each_word_of_mount_8_is_taken(word: str, attach: Attach) -> None:
    host, volume = LinuxHost(), attach(FsType.XFS, mounted=False)
    host.mount(volume.device, volume.target, FsType.XFS, [word], read_only=False)
    place = host.mounted_at(volume.target)
    assert place
    assert not mount_options.differences(FsType.XFS, [word], place.options, discards=True)


def test_a_context_is_left_out_as_mount_8_does(fs: FsType, attach: Attach) -> None:
    host, volume = LinuxHost(), attach(fs, mounted=False)
    options = mount_options.parse(['context="system_u:object_r:container_file_t:s0:c1,c2"'], fs)
    host.mount(volume.device, volume.target, fs, options, read_only=False)
    place = host.mounted_at(volume.target)
    assert place
    assert not mount_options.differences(fs, options, place.options, discards=True)
