"""Copies in the background: whoever asks again hears how far it is, and how it ended."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Event

import pytest

from driver.core.errors import Busy, Exhausted, NoSpace, StillRunning
from driver.core.model import ObjectNames, Progress
from driver.core.ports.measures import MEASURES, Count
from driver.core.ports.node_events import NodeEvents
from driver.volumes.copies.background import KEEP_FAILURE, BackgroundCopies
from tests.unit.backends.lvm.test_tags import VOLUME
from tests.unit.volumes.world import Later


@pytest.fixture
def later() -> Later:
    executor = Later()
    executor.lazy = True
    return executor


@pytest.fixture
def copies(later: Later) -> BackgroundCopies:
    return BackgroundCopies(lambda _: later, timeout=0.0)


def begin(
    copies: BackgroundCopies, work: object = lambda _: None, total: int = 100
) -> StillRunning:
    with pytest.raises(StillRunning) as error:
        copies.run("sim", "copying", total, work)  # type: ignore[arg-type]
    return error.value


def test_work_that_ends_in_time_gives_its_result_or_its_error() -> None:
    with ThreadPoolExecutor(1) as threads:
        copies = BackgroundCopies(lambda _: threads, timeout=60.0)
        assert copies.run("sim", "copying", 1, lambda _: 42) == 42

        def times_out(_: Progress) -> None:
            raise TimeoutError  # an OSError, ETIMEDOUT; not that of a future

        with pytest.raises(TimeoutError):
            copies.run("sim", "copying", 1, times_out)


def test_work_that_takes_longer_goes_on_and_tells_how_far_it_is() -> None:
    half, go = Event(), Event()

    def work(progress: Progress) -> None:
        progress(50)
        half.set()
        go.wait(60)
        progress(50)

    with ThreadPoolExecutor(1) as threads:
        running = begin(BackgroundCopies(lambda _: threads, timeout=0.0), work)
        half.wait(60)
        assert running.status() == "copying: 50 %"
        assert not running.done.done()
        go.set()
        running.done.result(60)
        assert running.status() == "copying: 99 %"  # the caller's success says the rest


def test_a_copy_of_nothing_has_a_status_too(copies: BackgroundCopies) -> None:
    assert begin(copies, total=0).status() == "copying: 0 %"


def test_a_failure_that_nobody_heard_is_told_once(copies: BackgroundCopies, later: Later) -> None:
    def fails(_: Progress) -> None:
        raise NoSpace("full")

    begin(copies, fails)
    later.work()
    with pytest.raises(NoSpace):
        copies.run("sim", "copying", 1, fails)
    begin(copies, fails)


def test_a_success_leaves_nothing_to_tell(copies: BackgroundCopies, later: Later) -> None:
    begin(copies)
    later.work()
    begin(copies)


def test_a_copy_that_never_began_leaves_nothing_to_tell(copies: BackgroundCopies) -> None:
    running = begin(copies)
    done: Future[object] = running.done
    assert done.cancel()
    begin(copies)


def test_a_driver_that_stops_does_not_wait_for_copies(
    copies: BackgroundCopies, later: Later
) -> None:
    running = begin(copies, lambda progress: progress(10))
    copies.stop()
    later.work()
    assert isinstance(running.done.exception(), Busy)


def test_a_failure_of_long_ago_or_of_another_source_is_told_to_nobody(later: Later) -> None:
    now = [0.0]
    copies = BackgroundCopies(lambda _: later, timeout=0.0, clock=lambda: now[0])

    def fails(_: Progress) -> None:
        raise NoSpace("full")

    def fail(lives: str) -> None:
        with pytest.raises(StillRunning):
            copies.run("sim", "copying", 1, fails, lives)
        later.work()

    fail("first life")
    fail("second life")  # is not told what happened to the first
    now[0] += KEEP_FAILURE + 1
    with pytest.raises(StillRunning):
        copies.run("sim", "copying", 1, lambda _: None, "second life")
    assert copies._failures == {}


def test_the_bytes_that_are_left_are_known_until_the_copy_ends(
    copies: BackgroundCopies, later: Later
) -> None:
    before = MEASURES.counts()[Count.COPIED_BYTES]
    begin(copies, lambda progress: progress(60))
    assert copies.remaining() == [100]
    [progress] = copies.running()
    assert (progress.total, progress.copied, progress.claim) == (100, 0, "")
    later.work()
    assert copies.remaining() == []
    assert copies.running() == []
    assert MEASURES.counts()[Count.COPIED_BYTES] == before + 60


def test_a_copy_has_the_claim_that_waits_for_it(later: Later) -> None:
    copies = BackgroundCopies(lambda _: later, timeout=0.0)
    named = replace(VOLUME, objects=ObjectNames("shop", "data"))
    with pytest.raises(StillRunning):
        copies.run("sim", "copying", 1, lambda _: None, images=[VOLUME, named])
    assert [copy.claim for copy in copies.running()] == ["shop/data"]
    later.work()


def test_whoever_waits_in_kubernetes_is_told_how_a_copy_goes(later: Later) -> None:
    events = NodeEvents()
    copies = BackgroundCopies(lambda _: later, timeout=0.0, events=events)
    named = replace(VOLUME, objects=ObjectNames("shop", "data"))

    def fail(progress: Progress) -> None:
        progress(50)
        raise NoSpace("the pool is full")

    for work in (lambda _: None, fail):
        with pytest.raises(StillRunning):
            copies.run("sim", "copying", 2 << 20, work, images=[named, VOLUME])
        later.work()
    told = [(event.reason, event.text, event.warning) for event in events.after(0)]
    assert told == [
        ("CopyStarted", "copying: 2 MiB are copied", False),
        ("CopyCompleted", "copying: done", False),
        ("CopyStarted", "copying: 2 MiB are copied", False),
        ("CopyFailed", "copying: 0 %, and failed: the pool is full", True),
    ]
    assert all(event.image == named for event in events.after(0))


def test_a_copy_that_got_no_thread_is_not_run_later(
    no_threads: AbstractContextManager[None],
) -> None:
    ran: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        copies = BackgroundCopies(lambda _: threads, timeout=60.0)
        with no_threads, pytest.raises(Exhausted, match="could not be started"):
            copies.run("sim", "first", 1, lambda _: ran.append("first"))
        copies.run("sim", "second", 1, lambda _: ran.append("second"))
    assert ran == ["second"]
