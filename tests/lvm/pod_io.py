"""A pod that reads or writes: in a control group below that of all pods, in a process of its own.

`python pod_io.py GROUP KIND PATH BYTES COUNT` prints the seconds that COUNT requests of BYTES took.
KIND: write (O_DIRECT), read (O_DIRECT), buffered (with fsync). With COUNT 0 it writes for ever, and
prints a line with the bytes of each tenth of a second.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

FLAGS = {"write": os.O_RDWR | os.O_DIRECT, "read": os.O_RDONLY | os.O_DIRECT, "buffered": os.O_RDWR}


def begin(group: Path, kind: str, path: Path, size: int, count: int) -> subprocess.Popen[str]:
    """Start the pod."""
    words = [sys.executable, "-S", __file__, str(group), kind, str(path), str(size), str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def per_second(group: Path, kind: str, path: Path, size: int, count: int) -> float:
    """Return how many requests of `size` bytes the pod did in a second."""
    with begin(group, kind, path, size, count) as pod:
        text, _ = pod.communicate(timeout=120)
    assert pod.returncode == 0
    return count / float(text)


def _main(group: str, kind: str, path: str, size: int, count: int) -> None:
    Path(group, "cgroup.procs").write_text("0")
    fd = os.open(path, FLAGS[kind] | (os.O_CREAT if kind != "read" else 0), 0o600)
    data = mmap.mmap(-1, size)
    data.write(os.urandom(size))
    if not count:
        _write_for_ever(fd, data, size)
    begun = time.monotonic()
    for number in range(count):
        if kind == "read":
            os.preadv(fd, [data], number * size)
        else:
            os.pwrite(fd, data, number * size)
    if kind == "buffered":
        os.fsync(fd)
    sys.stdout.write(f"{time.monotonic() - begun}\n")


def _write_for_ever(fd: int, data: mmap.mmap, size: int) -> None:
    tenth, written = time.monotonic() + 0.1, 0
    while True:
        os.pwrite(fd, data, 0)
        written += size
        if time.monotonic() > tenth:
            sys.stdout.write(f"{written}\n")
            sys.stdout.flush()
            tenth, written = time.monotonic() + 0.1, 0


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
