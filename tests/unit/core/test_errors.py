"""The errors: ordinary exceptions whose type is their meaning."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from driver.core import errors
from driver.core.errors import Busy, CellarError, StillRunning

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__ and issubclass(kind, Exception)
]
PLAIN = [kind for kind in KINDS if kind is not StillRunning]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_cellar_error_that_says_what_it_means(kind: type[Exception]) -> None:
    assert issubclass(kind, CellarError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", PLAIN)
def test_the_text_is_what_people_read(kind: type[CellarError]) -> None:
    assert str(kind("the pool is full")) == "the pool is full"


@pytest.mark.parametrize("kind", PLAIN)
def test_an_error_passes_through_a_context_manager_unharmed(kind: type[CellarError]) -> None:
    @contextmanager
    def around() -> Iterator[None]:
        try:
            yield
        finally:
            pass

    with pytest.raises(kind) as caught, around():
        raise kind("text")
    assert caught.value.__traceback__


def test_work_that_outlives_its_call_is_busy_until_it_is_done() -> None:
    done: Future[None] = Future()
    error = StillRunning("the copy goes on", done=done)
    assert isinstance(error, Busy)
    assert error.done is done


def test_its_status_is_its_text_if_nothing_better_is_known() -> None:
    assert StillRunning("the copy goes on", done=Future()).status() == "the copy goes on"


def test_its_status_can_be_asked_while_it_runs() -> None:
    progress = iter(["10 %", "20 %"])
    error = StillRunning("copying", done=Future(), status=lambda: next(progress))
    assert [error.status(), error.status()] == ["10 %", "20 %"]
