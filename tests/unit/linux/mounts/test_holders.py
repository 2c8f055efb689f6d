"""Who keeps a device busy, as far as any user can show it: an idle filesystem stands for a volume."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from driver.linux.mounts import holders

# Where anybody may write; mostly at least one is a filesystem of its own.
PLACES = (Path("/dev/shm"), Path("/run/lock"), Path("/var/tmp"), Path(tempfile.gettempdir()))


@pytest.fixture
def place() -> Path:
    """On a filesystem that this process uses nothing of."""
    ours = [Path("/proc/self", name) for name in ("cwd", "root", "exe")]
    used = {one.stat().st_dev for one in (*ours, *Path("/proc/self/fd").iterdir()) if one.exists()}
    for path in PLACES:
        if os.access(path, os.W_OK) and path.stat().st_dev not in used:
            return path
    pytest.skip(f"needs a filesystem of its own at one of {', '.join(map(str, PLACES))}")


@pytest.fixture
def number(place: Path) -> int:
    return place.stat().st_dev


@pytest.fixture
def folder(place: Path) -> Iterator[Path]:
    path = place / f"cellar-{os.getpid()}"
    path.mkdir()
    yield path
    path.rmdir()


@pytest.fixture
def only_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all processes only this one and its children: others may come and go."""

    def pids() -> list[int]:
        us = psutil.Process()
        return [us.pid, *(child.pid for child in us.children())]

    monkeypatch.setattr(psutil, "pids", pids)


def test_nobody(only_us: None, number: int, folder: Path) -> None:
    assert holders.holders(folder, number) == ()


def test_a_process_with_an_open_file_is_named(only_us: None, number: int, folder: Path) -> None:
    path = folder / "open"
    with path.open("w"):
        path.unlink()  # and it stays in use
        assert holders.holders(folder, number) == (f"{comm(os.getpid())} (pid {os.getpid()})",)


def test_a_process_that_stands_there_is_named(only_us: None, number: int, folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=folder) as child:
        assert holders.holders(folder, number) == (f"sleep (pid {child.pid})",)
        child.kill()


def test_a_process_can_put_nothing_but_words_into_an_error(
    only_us: None, number: int, folder: Path
) -> None:
    rename = "printf 'a\\n\\033[2Jb' > /proc/self/comm; echo; read -r _"
    with subprocess.Popen(
        ["sh", "-c", rename], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        child.stdout.readline()
        assert holders.holders(folder, number) == (f"a??[2Jb (pid {child.pid})",)
        child.kill()


def test_of_many_only_some_are_named(
    only_us: None, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "MOST", 2)
    children = [subprocess.Popen(["sleep", "60"], cwd=folder) for _ in range(3)]
    try:
        assert len(holders.holders(folder, number)) == 2
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_the_search_ends_at_its_bound(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "BOUND", -1)
    with (folder / "open").open("w") as file:
        assert holders.holders(folder, number) == ()
        os.unlink(file.name)


def test_a_process_that_is_gone_or_cannot_be_read_is_passed_over(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "pids", lambda: [1 << 30, 2, 1])
    assert isinstance(holders.holders(folder, number), tuple)


def test_a_process_stuck_in_the_kernel_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "status", lambda _: psutil.STATUS_DISK_SLEEP)
    assert holders._called(os.getpid()).endswith(f"(pid {os.getpid()}, stuck in the kernel)")


def test_a_device_that_does_not_exist_has_no_holders() -> None:
    assert holders.holders(Path("/dev/nothing"), os.makedev(4000, 1)) == ()


def test_a_search_among_all_processes_is_quick(number: int, folder: Path) -> None:
    start = time.monotonic()
    holders.holders(folder, number)
    assert time.monotonic() - start < holders.BOUND + 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/mnt/a", True),
        ("/mnt/a/file", True),
        ("/mnt/a (deleted)", False),
        ("/mnt/ab", False),
        ("/mnt", False),
        ("socket:[1]", False),
    ],
)
def test_a_path_is_below_a_target_by_whole_names(path: str, *, expected: bool) -> None:
    assert holders._is_below(path, ("/other", "/mnt/a")) is expected


def test_everything_is_below_the_root() -> None:
    assert holders._is_below("/etc/passwd", ("/",))


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
