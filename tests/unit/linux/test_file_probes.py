"""What a file allows, found out by trying it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from driver.linux import file_probes


def test_probes_leave_nothing_behind(tmp_path: Path) -> None:
    file_probes.reflinks(tmp_path)
    file_probes.direct_io_at(tmp_path, 4096)
    assert os.listdir(tmp_path) == []


def test_a_file_that_only_we_have_open_is_not_open_elsewhere(image: Path) -> None:
    with image.open("r+b") as ours:
        assert not file_probes.is_open_elsewhere(ours.fileno())
        assert not file_probes.is_open_elsewhere(ours.fileno())


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_a_reader_or_writer_has_it_open(image: Path, mode: str) -> None:
    with image.open("r+b") as ours, image.open(mode):
        assert file_probes.is_open_elsewhere(ours.fileno())
    with image.open("r+b") as ours:
        assert not file_probes.is_open_elsewhere(ours.fileno())


LEASE = """
import fcntl, signal, sys
from driver.linux import file_probes
class Held:
    def fcntl(self, fd, command, argument=0):
        if command == fcntl.F_SETLEASE and argument == fcntl.F_UNLCK:
            print("held", flush=True)
            sys.stdin.readline()
        return fcntl.fcntl(fd, command, argument)
    def __getattr__(self, name):
        return getattr(fcntl, name)
file_probes.fcntl = Held()
with open(sys.argv[1], "r+b") as file:
    print(file_probes.is_open_elsewhere(file.fileno()), flush=True)
"""


def test_who_opens_the_file_while_we_look_does_not_end_us(image: Path) -> None:
    """A broken lease is told by a signal, and that of SIGIO ends a process."""
    with subprocess.Popen(
        [sys.executable, "-c", LEASE, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin and child.stdout
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):  # it breaks the lease, and does not wait for it
            os.open(image, os.O_RDONLY | os.O_NONBLOCK)
        out, _ = child.communicate(b"\n", timeout=30)
        assert (child.returncode, out) == (0, b"False\n")
