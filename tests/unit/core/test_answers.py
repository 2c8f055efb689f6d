"""A pool that is asked in the caller's own thread, and the names of threads."""

from __future__ import annotations

import threading

import pytest

from driver.core.answers import Direct, thread_tag
from driver.core.errors import PoolUnavailable


def test_a_question_is_answered_at_once_by_the_thread_that_asks() -> None:
    assert Direct().begin(threading.get_ident).result(0) == threading.get_ident()


def test_an_error_is_raised_where_the_answer_is_read() -> None:
    def fail() -> None:
        raise PoolUnavailable("the disk is away")

    answer = Direct().begin(fail)
    with pytest.raises(PoolUnavailable, match="away"):
        answer.result(0)


def test_no_pool_takes_the_threads_of_another_for_its_own() -> None:
    threads = {name: f"copier{thread_tag(name)}_0" for name in ("a", "aa", "a-a", "copier")}
    for name in threads:
        assert [pool for pool, thread in threads.items() if thread_tag(name) in thread] == [name]
