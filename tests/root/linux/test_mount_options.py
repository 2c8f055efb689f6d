"""Every mount option that is accepted, on a real mount: the kernel shows what the tables say."""

from __future__ import annotations

import pytest

from driver.core.errors import Invalid
from driver.core.model import FsType
from driver.core.options import mount_options
from driver.core.options.mount_settings import SETTINGS, Setting
from driver.linux.host import LinuxHost
from tests.root.linux.conftest import Attach

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
            asked_for = setting.outcome(option) != setting.absent
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
