"""Rounds of trimming: slices at a small share of the time, and nothing that is busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from driver.app.trim_rounds import TrimRounds, next_length
from driver.core.errors import Busy
from driver.core.ids import VolumeId
from driver.core.model import GIB, MIB
from driver.volumes.space.trimming import SliceDone, TrimSlice
from tests.support.failing_backend import failing_pool

ONE, TWO = (VolumeId("0" * 12, digit * 32) for digit in "12")


@dataclass
class FakeTrimmer:
    """Two volumes of two slices each."""

    asked: list[TrimSlice] = field(default_factory=list)
    broken: VolumeId | None = None

    def candidates(self, pool: object) -> list[VolumeId]:
        return [ONE, TWO]

    def trim(self, request: TrimSlice) -> SliceDone:
        if request.volume_id == self.broken:
            raise OSError(95, "not supported")
        self.asked.append(request)
        return SliceDone(MIB, last=request.start > 0)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it rested. No test waits."""
    seconds: list[float] = []

    async def sleep(duration: float) -> None:
        seconds.append(duration)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return seconds


def one_round(trimmer: FakeTrimmer, busy: int = 0) -> TrimRounds:
    left = [busy]

    async def run(work: Callable[[Any], Any], request: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise Busy("busy")
        return work(request)

    rounds = TrimRounds(run, trimmer, 60.0)  # type: ignore[arg-type]
    asyncio.run(rounds.round(failing_pool("fast", 10 * GIB)))
    return rounds


def test_a_round_trims_each_volume_to_its_end_and_rests_between(slept: list[float]) -> None:
    trimmer = FakeTrimmer()
    rounds = one_round(trimmer)
    assert [(each.volume_id, bool(each.start)) for each in trimmer.asked] == [
        (ONE, False),
        (ONE, True),
        (TWO, False),
        (TWO, True),
    ]
    assert trimmer.asked[1].start == trimmer.asked[0].length
    assert rounds.discarded == {"fast": 4 * MIB}
    assert len(slept) == 2
    assert min(slept) >= 0.05


def test_a_volume_that_cannot_be_trimmed_delays_no_other() -> None:
    trimmer = FakeTrimmer(broken=ONE)
    assert one_round(trimmer).discarded == {"fast": 2 * MIB}


def test_a_volume_that_is_busy_is_tried_again_and_then_left_out() -> None:
    trimmer = FakeTrimmer()
    one_round(trimmer, busy=2)
    assert len(trimmer.asked) == 4
    trimmer = FakeTrimmer()
    one_round(trimmer, busy=3)
    assert {each.volume_id for each in trimmer.asked} == {TWO}


def test_slices_become_as_long_as_a_call_may_wait() -> None:
    assert next_length(256 * MIB, 0.001) == 512 * MIB
    assert next_length(256 * MIB, 0.03) == 256 * MIB
    assert next_length(256 * MIB, 0.2) == 128 * MIB
    assert next_length(32 * MIB, 9.0) == 32 * MIB
    assert next_length(4 * GIB, 0.001) == 4 * GIB
