"""Pauses between attempts."""

from __future__ import annotations

import time
from itertools import islice

import pytest

from driver.core.backoff import Backoff


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(1.0, 60.0), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Backoff(0.5, 0.5), [0.5] * 8),
    ],
)
def test_each_pause_is_twice_the_last_up_to_the_longest(
    backoff: Backoff, pauses: list[float]
) -> None:
    assert list(islice(backoff.pauses(), 8)) == pauses


def test_new_pauses_begin_with_the_first() -> None:
    backoff = Backoff(1.0, 60.0)
    pauses = backoff.pauses()
    assert [next(pauses), next(pauses)] == [1, 2]
    assert next(backoff.pauses()) == 1
    assert next(pauses) == 4


def test_attempts_end_when_their_time_has_passed() -> None:
    begin = time.monotonic()
    assert len(list(Backoff(0.001, 0.002).attempts(0.05))) > 2
    assert time.monotonic() - begin >= 0.05


def test_there_is_one_attempt_at_least() -> None:
    assert list(Backoff(1.0, 1.0).attempts(0.0)) == [None]
