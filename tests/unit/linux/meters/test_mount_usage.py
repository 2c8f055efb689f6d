"""The usage of mounts: bounded, and never that of the host's own filesystem."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.devices import Usage
from driver.linux.meters import mount_usage
from driver.linux.meters.mount_usage import BOUND, MOST_HUNG, UsageReader, usage_at

USAGE = Usage(total=100, used=10, available=80, inodes=5, inodes_used=1, inodes_free=4)


@pytest.fixture
def let() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_the_filesystem_of_the_device_is_read(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    usage = usage_at(str(tmp_path), device)
    assert usage
    assert usage.total == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


def test_another_device_is_not_taken_for_it(tmp_path: Path) -> None:
    assert usage_at(str(tmp_path), os.makedev(7, 12345)) is None
    with pytest.raises(OSError, match="not-there"):
        usage_at(str(tmp_path / "not-there"), 1)


def test_one_that_hangs_costs_only_its_own_answer(let: threading.Event) -> None:
    asked: list[str] = []

    def read(path: str, _device: int) -> Usage:
        asked.append(path)
        if path == "hung":
            let.wait(60)
        return USAGE

    reader = UsageReader(read)
    mounts = {"a": 1, "hung": 2, "b": 3}
    begun = time.monotonic()
    assert reader.read(mounts) == {"a": USAGE, "b": USAGE}
    assert time.monotonic() - begun < 10 * BOUND  # on a busy machine
    assert reader.read(mounts) == {"a": USAGE, "b": USAGE}
    assert asked.count("hung") == 1
    let.set()
    while any(thread.name == "usage" for thread in threading.enumerate()):
        time.sleep(0.01)
    assert set(reader.read(mounts)) == {"a", "hung", "b"}


def test_the_threads_that_hang_are_few(
    let: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_usage, "TIMEOUT", 0.01)

    def read(_path: str, _device: int) -> Usage:
        let.wait(60)
        return USAGE

    reader = UsageReader(read)
    mounts = {str(number): number for number in range(100)}
    for _ in range(4):
        assert reader.read(mounts) == {}
    hung = [thread for thread in threading.enumerate() if thread.name == "usage"]
    assert len(hung) == MOST_HUNG


def test_a_mount_that_cannot_be_read_is_left_out() -> None:
    def read(path: str, _device: int) -> Usage | None:
        if path == "broken":
            raise OSError(5, "EIO")
        return USAGE if path == "good" else None

    assert UsageReader(read).read({"broken": 1, "other": 2, "good": 3}) == {"good": USAGE}
    assert UsageReader(read).read({}) == {}
