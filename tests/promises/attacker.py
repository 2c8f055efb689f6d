"""What a pod without any capability can do with the node of its raw block volume.

`python -m tests.promises.attacker NODE r|w` says "ready" when it has the node open and nothing
else; then one line for each line that it is given: OK, a value, or the errno's name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

SETPRIV: Final = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--securebits")
NO_ROOT: Final = "+noroot,+noroot_locked"

# <linux/loop.h>
LOOP_SET_FD: Final = 0x4C00
LOOP_CLR_FD: Final = 0x4C01
LOOP_SET_STATUS64: Final = 0x4C04
LOOP_GET_STATUS64: Final = 0x4C05
LOOP_CHANGE_FD: Final = 0x4C06
LOOP_SET_CAPACITY: Final = 0x4C07
LOOP_SET_DIRECT_IO: Final = 0x4C08
LOOP_SET_BLOCK_SIZE: Final = 0x4C09
OFFSET, SIZE_LIMIT, FLAGS, NAME = 24, 32, 52, 56  # in struct loop_info64, of 232 bytes
PARTSCAN: Final = 8


class AttackingPod:
    """A process that was started as a pod is: with the node, and without capabilities."""

    def __init__(self, node: Path, *, writes: bool = True) -> None:
        words = [*SETPRIV, NO_ROOT, sys.executable, "-m", __name__, str(node)]
        self._process = subprocess.Popen(
            [*words, "w" if writes else "r"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._hear() == "ready"

    def does(self, act: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(f"{act}\n")
        self._process.stdin.flush()
        return self._hear()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def _hear(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main(node: str, mode: str) -> None:
    capabilities = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
    assert int(capabilities, 16) == 0
    fd = os.open(node, os.O_RDWR if mode == "w" else os.O_RDONLY)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{_done(fd, line.strip())}\n")
        sys.stdout.flush()


def _done(fd: int, act: str) -> str:
    try:
        return _do(fd, act)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _do(fd: int, act: str) -> str:  # noqa: C901, PLR0911 - one for each act
    word, _, value = act.partition(" ")
    match word:
        case "unbind":
            fcntl.ioctl(fd, LOOP_CLR_FD)
        case "change":
            return _bind_evil(fd, LOOP_CHANGE_FD, Path(value))
        case "bind":
            return _bind_evil(fd, LOOP_SET_FD, Path(value))
        case "rename":
            return _set_status(fd, NAME, value.encode().ljust(64, b"\0"))
        case "shift":
            return _set_status(fd, OFFSET, int(value).to_bytes(8, "little"))
        case "limit":
            return _set_status(fd, SIZE_LIMIT, int(value).to_bytes(8, "little"))
        case "partscan":
            return _set_status(fd, FLAGS, (PARTSCAN).to_bytes(4, "little"))
        case "capacity":
            fcntl.ioctl(fd, LOOP_SET_CAPACITY)
        case "direct":
            fcntl.ioctl(fd, LOOP_SET_DIRECT_IO, int(value))
        case "blocks":
            fcntl.ioctl(fd, LOOP_SET_BLOCK_SIZE, int(value))
        case "write":
            os.pwrite(fd, value.encode().ljust(4096, b"\0"), 0)
            os.fsync(fd)
        case "read":
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(fd, 4096, 0).rstrip(b"\0").decode(errors="replace")
    return "OK"


def _bind_evil(fd: int, request: int, file: Path) -> str:
    with file.open("r+b") as evil:
        fcntl.ioctl(fd, request, evil.fileno())
    return "OK"


def _set_status(fd: int, where: int, value: bytes) -> str:
    info = bytearray(fcntl.ioctl(fd, LOOP_GET_STATUS64, bytes(232)))
    info[where : where + len(value)] = value
    fcntl.ioctl(fd, LOOP_SET_STATUS64, bytes(info))
    return "OK"


if __name__ == "__main__":
    main(*sys.argv[1:])
