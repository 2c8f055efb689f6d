"""Files, as far as any filesystem and any user can show it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.linux import files
from tests.unit.linux.conftest import MIB

Write = Callable[[Path, bytes], None]


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("write", [files.write_durably, files.write_beside])
class TestWriting:
    def test_the_file_has_the_data_and_nothing_lies_beside(
        self, write: Write, tmp_path: Path
    ) -> None:
        write(tmp_path / "record", b"1")
        write(tmp_path / "record", b"two")
        assert (tmp_path / "record").read_bytes() == b"two"
        assert os.listdir(tmp_path) == ["record"]

    def test_only_the_owner_may_read_it(self, write: Write, tmp_path: Path) -> None:
        write(tmp_path / "record", b"1")
        assert (tmp_path / "record").stat().st_mode & 0o777 == 0o600

    def test_the_former_file_stays_when_writing_fails(self, write: Write, tmp_path: Path) -> None:
        write(tmp_path / "record", b"1")
        (tmp_path / "record.tmp").mkdir()
        with pytest.raises(IsADirectoryError):
            write(tmp_path / "record", b"2")
        assert (tmp_path / "record").read_bytes() == b"1"

    def test_what_a_crash_left_beside_is_overwritten(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "record.tmp").write_bytes(b"much longer than that")
        write(tmp_path / "record", b"2")
        assert (tmp_path / "record").read_bytes() == b"2"


def test_only_write_durably_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    files.write_beside(tmp_path / "a", b"")
    assert len(synced) == 0
    files.write_durably(tmp_path / "b", b"")
    assert len(synced) == 1


def test_a_write_that_fails_leaves_the_former_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.write_durably(tmp_path / "record", b"1")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_durably(tmp_path / "record", b"2")
    assert os.listdir(tmp_path) == ["record"]
    assert (tmp_path / "record").read_bytes() == b"1"


def test_create_makes_holes_for_the_owner_only(image: Path) -> None:
    assert image.stat().st_size == MIB
    assert used(image) == 0
    assert image.stat().st_mode & 0o777 == 0o600


def test_create_never_opens_what_is_there(image: Path) -> None:
    image.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        files.create(image, MIB, nocow=True, extent_hint=0)
    assert image.read_bytes() == b"precious"


def test_create_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "link", MIB, nocow=False, extent_hint=0)
    assert not (tmp_path / "elsewhere").exists()


def test_create_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        files.create(tmp_path / "huge", 1 << 62, nocow=True, extent_hint=0)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == []


def test_allocate_fills_holes_and_grows(image: Path) -> None:
    files.allocate(image, 2 * MIB)
    assert image.stat().st_size == 2 * MIB
    assert used(image) >= 2 * MIB


def test_allocate_keeps_what_is_written(image: Path) -> None:
    with image.open("r+b") as file:
        file.write(b"written")
    files.allocate(image, MIB)
    assert image.read_bytes() == b"written" + bytes(MIB - 7)


def test_allocate_never_shrinks(image: Path) -> None:
    files.allocate(image, MIB // 2)
    assert image.stat().st_size == MIB


def test_allocate_of_too_much_leaves_the_file_as_it_was(image: Path) -> None:
    with pytest.raises(OSError) as caught:
        files.allocate(image, 1 << 62)
    assert caught.value.errno in {errno.EFBIG, errno.ENOSPC}
    assert image.stat().st_size == MIB


def test_extend_grows_by_a_hole_and_never_shrinks(image: Path) -> None:
    files.extend(image, 2 * MIB)
    files.extend(image, MIB)
    assert image.stat().st_size == 2 * MIB
    assert used(image) == 0


def test_sync_of_files_and_directories(image: Path) -> None:
    files.sync(image)
    files.sync_directory(image.parent)
    with pytest.raises(NotADirectoryError):
        files.sync_directory(image)


def test_a_filesystem_that_is_not_known_has_a_number() -> None:
    assert files.filesystem_type(Path("/proc")) == "0x9fa0"


def test_the_type_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.filesystem_type(tmp_path / "nothing")


def test_a_commit_that_nobody_heard_of_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As btrfs' thread that goes to sleep just when it is woken: the first call waits for it."""
    heard, asked = threading.Event(), list[int]()

    def ioctl(_: int, operation: int, argument: bytes) -> bytes:
        asked.append(operation)
        if asked.count(files.BTRFS_IOC_START_SYNC) > 1:
            heard.set()
        elif operation == files.BTRFS_IOC_START_SYNC:
            assert heard.wait(20)
        return argument

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    files.commit(tmp_path)
    assert asked[0] == asked[1] == files.BTRFS_IOC_START_SYNC
    assert asked.count(files.BTRFS_IOC_WAIT_SYNC) == 1
