"""The private service on simulated pools: what the tables are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.core.errors import Invalid, Unsupported
from driver.core.ids import VolumeId, volume_key
from driver.core.model import GIB, Allocation, FsType, ObjectNames, Volume
from driver.core.ports.pool import Pool
from driver.services.peer import PeerService
from driver.volumes.requests import SetHold, SetNames
from tests.support.failing_backend import FailingBackend, failing_pool


async def run(work: Callable[[Any], Any], request: Any) -> Any:
    return work(request)


@pytest.fixture
def pools() -> list[Pool]:
    return [failing_pool("fast", 10 * GIB), failing_pool("slow", 5 * GIB)]


@pytest.fixture
def peer(pools: list[Pool]) -> PeerService:
    return PeerService(run, pools)


def a_volume(pool: Pool) -> Volume:
    volume = Volume(
        id=VolumeId(pool.backend.id, volume_key("pvc-1")),
        name="pvc-1",
        size=GIB,
        fs=FsType.EXT4,
        allocation=Allocation.THICK,
        block_size=4096,
        created=12.5,
        incarnation="1",
    )
    pool.backend.create(volume, lambda _: None)
    return volume


def listed(peer: PeerService) -> list[cellar.Pool]:
    return list(asyncio.run(peer.ListPools(cellar.ListPoolsRequest(), None)).pools)


def described(peer: PeerService, *volume_ids: str) -> list[cellar.Record]:
    request = cellar.DescribeRequest(volume_ids=volume_ids)
    return list(asyncio.run(peer.Describe(request, None)).records)


def test_a_hold_reaches_the_use_case_and_is_shown(pools: list[Pool]) -> None:
    asked: list[SetHold] = []
    peer = PeerService(run, pools, set_hold=asked.append)
    volume = a_volume(pools[0])
    assert not described(peer, str(volume.id))[0].held
    request = cellar.SetHoldRequest(volume_id=str(volume.id), held=True)
    asyncio.run(peer.SetHold(request, None))
    assert asked == [SetHold(volume.id, held=True)]
    pools[0].backend.record(replace(volume, held=True))
    assert described(peer, str(volume.id))[0].held


def test_names_reach_the_use_case_if_kubernetes_can_have_them(pools: list[Pool]) -> None:
    asked: list[SetNames] = []
    peer = PeerService(run, pools, set_names=asked.append)
    volume = a_volume(pools[0])
    request = cellar.SetNamesRequest(
        volume_id=str(volume.id), namespace="shop", claim="data", persistent="pv"
    )
    asyncio.run(peer.SetNames(request, None))
    assert asked == [SetNames(volume.id, ObjectNames("shop", "data", "pv"))]
    for missing in ("namespace", "claim", "persistent"):
        strange = cellar.SetNamesRequest()
        strange.CopyFrom(request)
        setattr(strange, missing, "../NO")
        with pytest.raises(Invalid):
            asyncio.run(peer.SetNames(strange, None))
    with pytest.raises(Unsupported):
        asyncio.run(PeerService(run, pools).SetNames(request, None))


def away(pool: Pool) -> None:
    assert isinstance(pool.backend, FailingBackend)
    pool.backend.make_unavailable("its disk was pulled")


def test_pools_are_listed_in_their_order_with_what_they_hold(
    peer: PeerService, pools: list[Pool]
) -> None:
    a_volume(pools[0])
    fast, slow = listed(peer)
    assert (fast.name, fast.volumes, fast.committed_bytes) == ("fast", 1, GIB)
    assert (fast.id, fast.total_bytes, fast.largest_bytes) == (
        pools[0].backend.id,
        10 * GIB,
        9 * GIB,
    )
    assert (slow.name, slow.volumes, slow.away) == ("slow", 0, "")


def test_a_pool_that_is_away_is_listed_with_the_reason(
    peer: PeerService, pools: list[Pool]
) -> None:
    away(pools[1])
    _, slow = listed(peer)
    assert (slow.id, slow.away) == ("", "its disk was pulled")


def test_a_volume_is_described_by_its_record(peer: PeerService, pools: list[Pool]) -> None:
    volume = a_volume(pools[1])
    [record] = described(peer, str(volume.id))
    assert (record.id, record.name, record.filesystem) == (str(volume.id), "pvc-1", "ext4")
    assert (record.allocation, record.block_size, record.created) == ("thick", 4096, 12.5)


def test_what_is_unknown_or_away_is_left_out(peer: PeerService, pools: list[Pool]) -> None:
    here, gone = a_volume(pools[0]), a_volume(pools[1])
    away(pools[1])
    ids = [str(Path("../etc")), f"{'0' * 12}-{'0' * 32}", str(gone.id), str(here.id)]
    assert [record.id for record in described(peer, *ids)] == [str(here.id)]
