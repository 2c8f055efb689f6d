"""A pool that cannot be used is said once, when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from loguru import logger

from driver.backends.memory.backend import memory
from driver.core.model import GIB
from driver.observe.pool_log import PoolLog

THERE = memory("fast", GIB).backend.state()
GONE = replace(THERE, unavailable="/srv/fast has no marker: mount its disk")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lambda one: lines.append(str(one).strip()), format="{level} {message}")
    yield lines
    logger.remove(sink)


def test_a_pool_that_is_there_is_no_pool_log(logged: list[str]) -> None:
    pool_log = PoolLog()
    pool_log.observe([THERE])
    assert (logged, pool_log.lines()) == ([], [])


def test_a_pool_that_is_away_is_said_at_the_start_and_when_it_changes(logged: list[str]) -> None:
    pool_log = PoolLog()
    for state in (GONE, GONE, THERE, THERE, GONE):
        pool_log.observe([state])
    problem = "WARNING pool fast cannot be used: /srv/fast has no marker: mount its disk"
    assert logged == [problem, "INFO pool fast can be used again", problem]
    assert pool_log.lines() == [problem.removeprefix("WARNING ")]


def test_another_reason_is_pool_log_and_a_number_that_grows_is_not(logged: list[str]) -> None:
    pool_log = PoolLog()
    for why in ("no answer for 3 s", "no answer for 13 s", "read-only"):
        pool_log.observe([replace(THERE, unavailable=why)])
    assert [line.rpartition(": ")[2] for line in logged] == ["no answer for 3 s", "read-only"]
    assert pool_log.lines() == ["pool fast cannot be used: read-only"]
