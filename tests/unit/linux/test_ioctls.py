"""ioctl(2) with large buffers: what the kernel writes is there, and its errors are told."""

from __future__ import annotations

import errno
import os

import pytest

from driver.linux.ioctls import ioctl

FIONREAD = 0x541B


@pytest.mark.parametrize("size", [4, 1024, 1025, 8192])
def test_what_the_kernel_writes_is_in_the_buffer(size: int) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"seven..")
        buffer = bytearray(size)
        assert ioctl(reading, FIONREAD, buffer) == 0
        assert int.from_bytes(buffer[:4], "little") == 7
    finally:
        os.close(reading)
        os.close(writing)


def test_an_error_is_the_kernels() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught:
            ioctl(fd, FIONREAD, bytearray(5000))
    finally:
        os.close(fd)
    assert caught.value.errno == errno.ENOTTY
