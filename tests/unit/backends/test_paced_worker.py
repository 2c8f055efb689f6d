"""Work beside the calls: one round at a time, in steps, at a small share of a processor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from threading import Event, current_thread, main_thread

from driver.backends.paced_worker import Background
from tests.support.waiting import wait_until


def test_a_round_is_done_in_a_thread_of_its_own_and_then_another_may_begin() -> None:
    done: list[bool] = []

    def steps() -> Iterator[None]:
        done.append(current_thread() is main_thread())
        yield

    one = Background("test", steps)

    def again() -> bool:
        one.begin()
        return len(done) > 2

    wait_until(again)
    one.stop()
    assert not any(done)


def test_there_is_one_round_at_a_time_and_it_ends_with_its_step() -> None:
    go, begun = Event(), [0]

    def steps() -> Iterator[None]:
        begun[0] += 1
        go.wait(30)
        yield
        raise AssertionError("it was stopped")

    one = Background("test", steps)
    for _ in range(10):
        one.begin()
    wait_until(lambda: begun[0] == 1)
    one.stop()
    go.set()
    assert begun[0] == 1


def test_it_rests_for_a_multiple_of_what_it_costs() -> None:
    ended, begun = Event(), time.monotonic()

    def steps() -> Iterator[None]:
        for _ in range(4):
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                pass
            yield
        ended.set()

    Background("test", steps, rests=9).begin()
    assert ended.wait(60)
    assert time.monotonic() - begun > 4 * 0.01 * 9


def test_an_error_ends_the_round_and_not_the_next() -> None:
    tried = [0]

    def steps() -> Iterator[None]:
        tried[0] += 1
        yield
        raise FileNotFoundError

    one = Background("test", steps)

    def again() -> bool:
        one.begin()
        return tried[0] > 2

    wait_until(again)


def test_a_round_that_got_no_thread_begins_the_next_time(
    no_threads: AbstractContextManager[None],
) -> None:
    ended = Event()

    def steps() -> Iterator[None]:
        ended.set()
        yield

    worker = Background("test", steps)
    with no_threads:
        worker.begin()
    assert not ended.is_set()
    worker.begin()
    assert ended.wait(30)
    worker.stop()
