"""Filesystems that are opened without a place, beside children that hold copies of descriptors."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from driver.core.model import FsType
from driver.linux.devices import loop
from driver.linux.formats import filesystem, replay
from driver.linux.mounts import fsopen
from tests.root.linux.conftest import Attach
from tests.root.linux.images import backing, check, snapshot


class Children:
    """Each holds the filesystem that was just opened, as one between its vfork and its exec does."""

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo
        self.seconds = 0.3

    def hold(self, fd: int) -> None:
        words = ["sleep", str(self.seconds)]
        child = subprocess.Popen(words, pass_fds=[fd])
        self._undo.callback(child.wait, 30)
        self._undo.callback(child.kill)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    with ExitStack() as undo:
        children = Children(undo)
        plain = fsopen._configure

        def configure(context: int, command: int, key: str | None, value: str | None) -> None:
            plain(context, command, key, value)
            if command == fsopen._FSCONFIG_CMD_CREATE:
                children.hold(context)

        monkeypatch.setattr(fsopen, "_configure", configure)
        yield children


def test_a_copy_of_a_volume_in_use_is_made_beside_a_child_that_holds_it(
    children: Children, attach: Attach, tmp_path: Path
) -> None:
    """An xfs that was in use is opened for its log; a mkfs started meanwhile has it open too."""
    source = attach(FsType.XFS)
    (source.target / "file").write_text("x")
    image = snapshot(source, tmp_path / "copy.img")
    filesystem.new_uuid(image, FsType.XFS, block_size=4096)
    assert loop.find(backing(image)) is None
    check(FsType.XFS, image)


def test_what_options_made_is_tried_beside_a_child_that_holds_it(
    children: Children, fs: FsType, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    options = {FsType.EXT4: ("-m", "1"), FsType.XFS: ("-d", "agcount=2")}
    filesystem.run_mkfs(image, fs, block_size=4096, options=options.get(fs, ("-n", "16k")))
    assert loop.find(backing(image)) is None


def test_a_child_that_never_lets_go_keeps_the_device_no_longer_than_it_lives(
    children: Children, attach: Attach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a deleted image would keep its room until the machine starts again."""
    monkeypatch.setattr(replay, "_DETACH_TIMEOUT", 0.2)
    children.seconds = 2.0
    image = snapshot(attach(FsType.XFS), tmp_path / "copy.img")
    with pytest.raises(OSError, match="busy"):
        replay.replay(image, FsType.XFS, block_size=4096)
    left = loop.find(backing(image))
    assert left and left.autoclear
    children._undo.close()
    assert loop.find(backing(image)) is None


def test_a_mounted_device_is_still_refused_soon(attach: Attach) -> None:
    volume = attach(FsType.EXT4)
    with pytest.raises(OSError, match="busy"):
        loop.detach(volume.status, bound=5)
    found = loop.status(volume.status.path)
    assert found and not found.autoclear
