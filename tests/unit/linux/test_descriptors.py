"""The limit of open files is raised as far as it helps, and never lowered."""

from __future__ import annotations

import resource

import pytest

from driver.linux import descriptors
from driver.linux.descriptors import MOST

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
