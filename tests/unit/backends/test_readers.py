"""Images that are being read are not deleted meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from driver.backends.readers import Readers
from driver.core.ids import VolumeId

A, B = (VolumeId("1" * 12, digit * 32) for digit in "ab")


def test_an_image_is_read_until_its_last_reader_has_ended() -> None:
    readers = Readers()
    with readers.counted(A):
        with readers.counted(A):
            assert A in readers
        assert A in readers
        assert B not in readers
    assert A not in readers


def test_a_reader_that_fails_has_ended() -> None:
    readers = Readers()
    with pytest.raises(OSError, match="lost"), readers.counted(A):
        raise OSError("lost")
    assert A not in readers


def test_readers_in_many_threads_are_counted_one_by_one() -> None:
    readers = Readers()

    def read(_: int) -> None:
        for _ in range(200):
            with readers.counted(A):
                assert A in readers

    with ThreadPoolExecutor(8) as threads, ExitStack() as first:
        first.enter_context(readers.counted(A))
        list(threads.map(read, range(8)))
        assert A in readers
    assert A not in readers
