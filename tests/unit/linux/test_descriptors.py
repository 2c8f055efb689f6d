"""Descriptors are closed after an error, and their limit is raised as far as it helps."""

from __future__ import annotations

import os
import resource

import pytest

from driver.linux import descriptors
from driver.linux.descriptors import MOST, ClosedOnError

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "limit"),
    [
        (1024, 4096, 4096),
        (1024, 1 << 20, MOST),
        (1024, INFINITE, MOST),
        (1024, 1024, 1024),
        (1 << 20, 1 << 20, 1 << 20),
        (1 << 20, INFINITE, 1 << 20),
        (INFINITE, INFINITE, INFINITE),
    ],
)
def test_the_limit_is_the_hard_one_up_to_what_is_useful(
    soft: int, hard: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: now.append(limits))
    assert descriptors.raise_limit() == limit
    assert now[-1] == (limit, hard)
    assert len(now) == (1 if limit == soft else 2)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_descriptor_is_closed_by_an_error_and_only_by_one(error: type[BaseException]) -> None:
    fd = os.open("/", os.O_RDONLY)
    with ClosedOnError(fd):
        pass
    assert os.fstat(fd)
    with pytest.raises(error), ClosedOnError(fd):
        raise error
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
