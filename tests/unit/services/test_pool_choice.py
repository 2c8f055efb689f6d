"""Requests whose id names no pool: which are placed before they run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from driver.core.capacity import CapacityRange
from driver.core.ids import InlineHandle, VolumeId
from driver.core.model import AccessMode
from driver.services.dispatch import Dispatcher
from driver.services.pool_choice import PoolChoice
from driver.volumes.node_requests import InlinePublish, InlineStats, InlineUnpublish
from driver.volumes.requests import Capability, CreateVolume, DeleteVolume

HANDLE = InlineHandle(f"csi-{'0f' * 32}")
CREATE = CreateVolume(name="v", key="0" * 32, range=CapacityRange(1), fs=None)
SOURCE = VolumeId("1" * 12, "2" * 32)


@dataclass
class FakeUseCases:
    """The pools, and what is found when a request is to be placed."""

    count: int
    placed: list[object] = field(default_factory=list)

    @property
    def pools(self) -> FakeUseCases:
        return self

    @property
    def volumes(self) -> FakeUseCases:
        return self

    ephemeral = volumes

    def all(self) -> Sequence[int]:
        return range(self.count)

    def choose_pool(self, subject: object) -> str:
        self.placed.append(subject)
        return "slow"

    pool_name = choose_pool


def run(request: Any, count: int = 2) -> tuple[Any, list[object]]:
    """Return the request that was run, and what was placed before."""
    use_cases = FakeUseCases(count)

    async def scenario() -> Any:
        dispatcher = Dispatcher(1, 2)
        try:
            choice = PoolChoice(dispatcher, use_cases)  # type: ignore[arg-type]
            return await choice.run(lambda request: request, request)
        finally:
            dispatcher.close()

    return asyncio.run(scenario()), use_cases.placed


@pytest.mark.parametrize(
    "request_",
    [
        DeleteVolume(SOURCE),
        CreateVolume(name="v", key="0" * 32, range=CapacityRange(1), fs=None, pool="fast"),
        CreateVolume(name="v", key="0" * 32, range=CapacityRange(1), fs=None, source=SOURCE),
    ],
)
def test_a_request_that_names_its_pool_runs_as_it_is(request_: Any) -> None:
    assert run(request_) == (request_, [])


@pytest.mark.parametrize("request_", [CREATE, InlineStats(HANDLE, None)])
def test_with_one_pool_nothing_is_placed(request_: Any) -> None:
    assert run(request_, count=1) == (request_, [])


def test_a_create_runs_in_the_pool_that_was_chosen_for_it() -> None:
    ran, placed = run(CREATE)
    assert (ran.placed, ran.locks.named, placed) == ("slow", "slow", [CREATE])


def test_an_inline_volume_is_created_in_the_pool_that_was_chosen_for_it() -> None:
    capability = Capability(AccessMode.SINGLE_NODE_WRITER, block=False)
    ran, placed = run(InlinePublish(CREATE, Path("/t"), capability))
    assert (ran.create.placed, ran.locks.named, placed) == ("slow", "slow", [CREATE])


@pytest.mark.parametrize(
    "request_", [InlineUnpublish(HANDLE, Path("/t")), InlineStats(HANDLE, Path("/t"))]
)
def test_an_inline_volume_is_looked_for_by_its_key(request_: Any) -> None:
    ran, placed = run(request_)
    assert (ran.placed, ran.locks.named, placed) == ("slow", "slow", [HANDLE.key])
