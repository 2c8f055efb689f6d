"""A system call that waits for somebody costs its caller a bounded time."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.core.errors import StillRunning
from driver.linux import bounded_calls, ioctls
from tests.support.waiting import wait_until

REQUEST = 0x1234


class FakeKernel:
    """An ioctl that waits until `goes_on` is set, and then answers or fails."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.error: OSError | None = None
        self.asked: list[tuple[int, int, bytes]] = []

    def ioctl(self, fd: int, request: int, argument: bytearray) -> int:
        self.asked.append((fd, request, bytes(argument)))
        assert self.goes_on.wait(10)
        if self.error:
            raise self.error
        return 7


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel()
    monkeypatch.setattr(ioctls, "ioctl", kernel.ioctl)
    monkeypatch.setattr(bounded_calls, "BOUND", 0.05)
    return kernel


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


def test_the_kernels_answer_is_returned_and_nothing_stays_open(kernel: FakeKernel, fd: int) -> None:
    kernel.goes_on.set()
    assert bounded_calls.ioctl(fd, REQUEST, b"max", "growing") == 7
    [(asked, request, argument)] = kernel.asked
    assert (request, argument) == (REQUEST, b"max")
    assert asked != fd  # the caller may close its own while the kernel is at work
    assert not is_open(asked)
    assert is_open(fd)


def test_the_kernels_error_is_the_callers(kernel: FakeKernel, fd: int) -> None:
    kernel.goes_on.set()
    kernel.error = OSError(errno.EPERM, "Operation not permitted")
    with pytest.raises(PermissionError):
        bounded_calls.ioctl(fd, REQUEST, b"", "growing")
    assert not is_open(kernel.asked[0][0])


def test_what_takes_too_long_goes_on_without_its_caller(kernel: FakeKernel, fd: int) -> None:
    with pytest.raises(StillRunning, match=r"^growing /dev/loop3 takes more than 0.05 s") as caught:
        bounded_calls.ioctl(fd, REQUEST, b"", "growing /dev/loop3")
    done = caught.value.done
    assert done is not None
    assert not done.done()
    kernel.goes_on.set()
    assert done.result(10) == 7
    wait_until(lambda: not is_open(kernel.asked[0][0]))
