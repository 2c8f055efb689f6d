"""The threads in which a pool is asked. Events say when something has happened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from driver.backends.pool_threads import LATELY, SILENT, THREADS, Answering
from driver.core.errors import Exhausted, NotFound, PoolSilent


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answering(clock: Clock) -> Iterator[Answering]:
    one = Answering("p", clock)
    yield one
    one.close()
    for thread in threads():
        thread.join(10)


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "ask-p"]


@contextmanager
def hanging(answering: Answering, times: int = 1) -> Iterator[None]:
    """As many questions wait for their answers as long as this is inside."""
    let = threading.Event()
    answers = [answering.begin(lambda: let.wait(10)) for _ in range(times)]
    try:
        yield
    finally:
        let.set()
        assert all(answer.result(10) for answer in answers)


def test_an_answer_and_an_error_are_those_of_the_question(answering: Answering) -> None:
    assert answering.begin(lambda: 42).result(10) == 42

    def fails() -> None:
        raise NotFound("gone")

    with pytest.raises(NotFound, match="gone"):
        answering.begin(fails).result(10)


def test_a_pool_that_was_silent_too_long_is_asked_no_more_until_it_answers(
    answering: Answering, clock: Clock
) -> None:
    with hanging(answering):
        clock.now += SILENT - 0.1
        assert answering.begin(lambda: 1).result(10) == 1
        assert answering.silent_for == 0
        clock.now += 2
        assert answering.silent_for == pytest.approx(SILENT + 1.9)
        with pytest.raises(PoolSilent, match="pool p has not answered for 7 s"):
            answering.begin(lambda: 1)
    assert answering.silent_for == 0
    assert answering.begin(lambda: 2).result(10) == 2


def test_never_more_than_a_few_threads_wait_and_none_keeps_the_process(
    answering: Answering,
) -> None:
    with hanging(answering, 10 * THREADS):
        assert len(threads()) == THREADS
        assert all(one.daemon for one in threads())


def test_one_question_after_another_takes_one_thread(answering: Answering) -> None:
    for number in range(50):
        assert answering.begin(_number(number)).result(10) == number
    assert len(threads()) == 1


def test_what_was_answered_a_moment_ago_may_be_asked_directly(
    answering: Answering, clock: Clock
) -> None:
    seen = [answering.answered_recently]
    answering.begin(lambda: 1).result(10)
    seen.append(answering.answered_recently)
    clock.now += LATELY + 0.1
    seen.append(answering.answered_recently)
    answering.note()
    assert [*seen, answering.answered_recently] == [False, True, False, True]


def test_a_question_that_nobody_waits_for_any_more_is_not_put(answering: Answering) -> None:
    put: list[int] = []
    with hanging(answering, THREADS):
        late = answering.begin(lambda: put.append(1))
        assert late.cancel()
    assert answering.begin(lambda: 1).result(10) == 1
    assert not put


def _number(number: int) -> Callable[[], int]:
    return lambda: number


def test_a_pool_is_not_silent_because_no_thread_could_be_started(
    answering: Answering, clock: Clock, no_threads: AbstractContextManager[None]
) -> None:
    with no_threads, pytest.raises(Exhausted, match="no thread"):
        answering.begin(lambda: 42)
    clock.now += 2 * SILENT
    assert answering.silent_for == 0
    assert answering.begin(lambda: 42).result(10) == 42
