"""Loop devices on real filesystems."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from driver.linux import file_probes, files
from driver.linux.devices import block, loop, loop_ioctl
from tests.root.linux.devices.conftest import (
    MIB,
    attach,
    backing,
)

MakePool = Callable[..., Path]


# attach and find


def test_a_file_that_is_replaced_is_another_file(image: Path) -> None:
    status = attach(image)
    try:
        image.rename(image.with_suffix(".old"))
        files.create(image, MIB, nocow=True, extent_hint=0)
        assert loop.find(backing(image)) is None
        assert loop.find(backing(image.with_suffix(".old"))) == status
    finally:
        loop.detach(status, bound=5)


def test_a_moved_or_deleted_image_is_still_found(image: Path) -> None:
    identity = backing(image)
    status = attach(image)
    try:
        image.unlink()
        assert loop.find(identity) == status
    finally:
        loop.detach(status, bound=5)


def test_nothing_is_bound_to_a_device_that_does_not_exist() -> None:
    assert loop.status(Path("/dev/loop99999")) is None


# discards


# detach


def test_detach_is_done_when_it_comes_back(image: Path) -> None:
    status = attach(image)
    loop.detach(status, bound=5)
    assert loop.status(status.path) is None
    with image.open("r+b") as file:
        assert not file_probes.is_open_elsewhere(file.fileno())


def test_detach_twice_is_content(plain: Path) -> None:
    status = attach(plain)
    loop.detach(status, bound=5)
    loop.detach(status, bound=5)


def test_detach_leaves_alone_what_is_another_file_by_now(plain: Path, tmp_path: Path) -> None:
    status = attach(plain)
    loop.detach(status, bound=5)
    other = tmp_path / "other.img"
    files.create(other, MIB, nocow=False, extent_hint=0)
    later = attach(other)
    try:
        stale = loop.Status(later.path, later.number, status.backing, "")
        loop.detach(stale, bound=5)
        assert loop.status(later.path) == later
    finally:
        loop.detach(later, bound=5)


def test_detach_of_a_mounted_device_is_refused_at_once(plain: Path, tmp_path: Path) -> None:
    status = attach(plain)
    subprocess.run(["mkfs.ext4", "-q", status.path], check=True)
    (tmp_path / "there").mkdir()
    subprocess.run(["mount", status.path, tmp_path / "there"], check=True)
    with pytest.raises(OSError) as caught:
        loop.detach(status, bound=5)
    assert caught.value.errno == errno.EBUSY
    assert loop.status(status.path) == status  # no autoclear: nothing was done
    subprocess.run(["umount", tmp_path / "there"], check=True)
    loop.detach(status, bound=5)


def test_detach_of_an_open_device_gives_up_after_its_bound(attached: loop.Status) -> None:
    start = time.monotonic()
    with attached.path.open("rb"):
        with pytest.raises(OSError) as caught:
            loop.detach(attached, bound=0.1)
        assert caught.value.errno == errno.EBUSY
        assert 0.1 <= time.monotonic() - start < 2
        left = loop.status(attached.path)
        assert left is not None
        assert left.autoclear


def test_detach_waits_for_the_one_who_has_it_open(plain: Path) -> None:
    status = attach(plain)
    fd = os.open(status.path, os.O_RDONLY)
    closer = threading.Timer(0.1, os.close, (fd,))
    closer.start()
    loop.detach(status, bound=10)
    closer.join()
    assert loop.find(backing(plain)) is None


# grow and stacks


def test_grow_takes_over_the_size_of_the_file(image: Path) -> None:
    status = attach(image)
    try:
        files.extend(image, 32 * MIB)
        assert block.size(status.path) == 16 * MIB
        loop.update_size(status)
        assert block.size(status.path) == 32 * MIB
    finally:
        loop.detach(status, bound=5)


def test_a_device_over_a_device_is_told_apart(attached: loop.Status) -> None:
    """Kubelet does that on raw block volumes."""
    above = attach(attached.path, label="kubelet's")
    try:
        assert list(loop.list_on_device(attached.number)) == [above]
        assert above.backing != attached.backing
        assert loop.find(attached.backing) == attached
    finally:
        loop.detach(above, bound=5)
    assert list(loop.list_on_device(attached.number)) == []


def test_a_dead_pool_does_not_spoil_the_scan(
    make_pool: MakePool,
    plain: Path,
) -> None:
    """A shut down xfs answers EIO for LOOP_GET_STATUS64 of its images."""
    pool = make_pool("xfs")
    files.create(pool / "dead.img", MIB, nocow=False, extent_hint=0)
    dead, alive = attach(pool / "dead.img"), attach(plain)
    try:
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", pool], check=True)
        assert loop.find(alive.backing) == alive
        assert dead not in list(loop.list_bound())
    finally:
        loop.detach(alive, bound=5)
        loop.detach(dead, bound=5)
    assert Path(f"/sys/block/{dead.path.name}/loop").exists() is False


def test_a_search_asks_no_device_of_another_volumes_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filesystem of that may hang, and LOOP_GET_STATUS64 asks it."""
    folders = [tmp_path / f"{'0' * 12}-{digit * 32}" for digit in "ab"]
    with ExitStack() as undo:
        found = []
        for folder in folders:
            folder.mkdir()
            files.create(folder / "disk.img", MIB, nocow=True, extent_hint=MIB)
            found.append(attach(folder / "disk.img"))
            undo.callback(loop.detach, found[-1], bound=5)
        asked = list[str]()
        usual = loop_ioctl.OpenedNode

        def noted(path: Path | str, flags: int) -> AbstractContextManager[int]:
            asked.append(str(path))
            return usual(path, flags)

        monkeypatch.setattr(loop_ioctl, "OpenedNode", noted)
        mine = folders[0] / "disk.img"
        assert loop.find(backing(mine), folders[0].name) == found[0]
        assert loop.find((0, 0), folders[0].name) is None
        list(loop.list_on_device(0))
        assert str(found[0].path) in asked
        assert str(found[1].path) not in asked
        (folders[1] / "disk.img").unlink()
        assert loop.find((0, 0), folders[0].name) is None
        assert str(found[1].path) not in asked
        assert loop.find(found[1].backing) == found[1]
        monkeypatch.undo()
