"""What the errno of a mount that failed means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver.core.errors import Failed, Invalid, Refused
from driver.core.model import MIB, FsType
from driver.core.ports.host import Host
from tests.root.linux.conftest import Attach, Volume


def test_an_unknown_option_is_named_and_nothing_is_left(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False)
    with pytest.raises(Invalid, match="nonsense=3"):
        host.mount(volume.device, volume.target, fs, ["noatime", "nonsense=3"], read_only=False)
    assert not volume.target.exists()


def test_a_damaged_filesystem_is_refused(
    host: Host, fs: FsType, attach: Attach, tmp_path: Path
) -> None:
    """Its superblock is good, what it points to is not."""
    volume = attach(fs, mounted=False)
    image = volume.image.read_bytes()
    with volume.image.open("r+b") as file:
        for at in range(0, len(image), 4096):
            is_superblock = at in {0, 65536, 64 * MIB}
            if not is_superblock and image[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(b"\xaa" * 4096)
        os.fsync(file.fileno())
    with pytest.raises((Refused, Failed), match="could not be mounted"):
        host.mount(volume.device, volume.target, fs, [], read_only=False)
    assert not volume.target.exists()


def test_a_read_only_device_is_not_mounted_for_writing(
    host: Host, fs: FsType, attach: Attach
) -> None:
    volume = attach(fs, mounted=False, read_only=True)
    with pytest.raises(Refused, match="read-only"):
        host.mount(volume.device, volume.target, fs, [], read_only=False)
    assert not volume.target.exists()


def test_a_device_that_carries_nothing_is_refused(host: Host, raw: Volume) -> None:
    with pytest.raises(Refused, match="no filesystem"):
        host.check(raw.device, FsType.EXT4)
