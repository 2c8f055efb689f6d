"""Calls several pools with a time limit, so that a pool whose disk hangs delays no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from driver.core.errors import CellarError, Exhausted, PoolSilent, PoolUnavailable
from driver.core.ports.backend import Backend
from driver.core.ports.pool import Pool

NAME_TIMEOUT: Final = 1.5  # seconds in which a pool says whether it has a name, or an id
LIST_TIMEOUT: Final = 2.5  # seconds for its part of what many pools answer together
CAPACITY_TIMEOUT: Final = 5.0  # seconds for the capacity of one

_POLL_INTERVAL: Final = 0.5  # seconds from one look at whether it is silent to the next

T = TypeVar("T")


@dataclass(slots=True)
class Replies(Generic[T]):
    """The replies of several pools to one question. `given`: the pools that answered, with their
    results; `errors`: the others, with their errors; each in the order of the configuration.
    """

    given: list[tuple[Pool, T]] = field(default_factory=list)
    errors: list[tuple[Pool, CellarError]] = field(default_factory=list)


def ask_directly(pool: Pool, question: Callable[[Backend], T]) -> T:
    """Return the result of `question(pool.backend)`. It is called in this thread if the pool has
    answered another call a moment ago, else in a thread of the pool.

    Raises: PoolSilent: the pool does not answer; what `question` raises.
    """
    if pool.answers.answered_recently and not pool.answers.silent_for:
        answer = question(pool.backend)
        pool.answers.note()
        return answer
    return ask_until_silent(pool, lambda asked: question(asked.backend))


def ask_until_silent(pool: Pool, question: Callable[[Pool], T]) -> T:
    """Call `question(pool)` in a thread and return its result. There is no time limit for it, as
    long as the pool answers this or other calls.

    Raises: PoolSilent: the pool has not answered any call for too long; what `question` raises.
    """
    begun = pool.answers.begin(lambda: question(pool))
    while not pool.answers.silent_for:
        wait([begun], _POLL_INTERVAL)
        if begun.done():
            return begun.result()
    return _read(pool, begun, time.monotonic())


def ask(pool: Pool, question: Callable[[Pool], T], within: float) -> T:
    """Call `question(pool)` in a thread of the pool, and return its result within `within`
    seconds.

    Raises: PoolSilent: the call has not returned within that time; what `question` raises.
    """
    return _read(pool, pool.answers.begin(lambda: question(pool)), time.monotonic() + within)


def ask_all(pools: Iterable[Pool], question: Callable[[Pool], T], within: float) -> Replies[T]:
    """Call `question` for all pools at once, and return their results and errors after at most
    `within` seconds.

    An OSError for a pool is returned as PoolUnavailable, an error of this driver (CellarError) as
    it is.
    """
    end = time.monotonic() + within
    replies: Replies[T] = Replies()
    for pool, begun in [(pool, _begun(pool, question)) for pool in pools]:
        try:
            replies.given.append((pool, _read(pool, begun, end)))
        except OSError as error:
            unavailable = PoolUnavailable(
                f"pool {pool.name} cannot be asked: {error.strerror or error}"
            )
            replies.errors.append((pool, unavailable))
        except CellarError as error:
            replies.errors.append((pool, error))
    return replies


def in_parts(items: Sequence[T], most: int) -> Iterable[Sequence[T]]:
    """Yield `items` in slices of at most `most`."""
    return (items[at : at + most] for at in range(0, len(items), most))


def _begun(pool: Pool, question: Callable[[Pool], T]) -> Future[T] | CellarError:
    """Return the future of the answer, or the error if the pool cannot be asked."""
    try:
        return pool.answers.begin(lambda: question(pool))
    except (PoolUnavailable, Exhausted) as error:
        return error


def _read(pool: Pool, begun: Future[T] | CellarError, end: float) -> T:
    """Return the answer by `end` (time.monotonic). Raises: PoolUnavailable; PoolSilent: none by
    then.
    """
    if isinstance(begun, CellarError):
        raise begun
    try:
        return begun.result(max(0.0, end - time.monotonic()))
    except TimeoutError:
        if begun.done():
            return begun.result()  # the question's own error, or an answer just in time
        begun.cancel()
        raise PoolSilent(f"pool {pool.name} does not answer: does its disk hang?") from None
