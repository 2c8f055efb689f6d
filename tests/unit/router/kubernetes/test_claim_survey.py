"""The survey of two real nodes against PersistentVolumes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from loguru import logger

from csi_proto import cellar_pb2 as cellar
from csi_proto import inspect_pb2
from driver.router.kubernetes.api import ApiError, Json
from driver.router.kubernetes.claim_survey import INTERVAL, ClaimSurvey, interval
from driver.router.kubernetes.orphans import Orphans
from tests.unit.router.kubernetes.test_persistent_volumes import DRIVER, persistent_volume
from tests.unit.router.routed import Routed, play


class FakeApi:
    """The API server's PersistentVolumes."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self.broken = False

    async def get(self, path: str, **_: str) -> Json:
        if self.broken:
            raise ApiError("503")
        return {"metadata": {}, "items": self.items}


class Surveyed:
    """A survey of the nodes of `routed`; a volume is an orphan at the second look."""

    def __init__(self, routed: Routed) -> None:
        self.api = FakeApi()
        self.now = 0.0
        self._routed = routed
        self._orphans = Orphans(1.0, lambda: self.now)
        api: Any = self.api
        self.survey = ClaimSurvey(api, DRIVER, self._orphans, 0.01)

    async def look(self) -> set[str]:
        """Return the orphans that were found."""
        self.now += 1
        await self.survey.survey(self._routed.nodes)
        return await self.orphans()

    async def orphans(self) -> set[str]:
        request = inspect_pb2.ListOrphansRequest()
        answer = await self._orphans.list_orphans(request, self._routed.context)
        return {orphan.volume_id for orphan in answer.orphans}

    async def names(self, node: str, volume_id: str) -> str:
        request = cellar.DescribeRequest(volume_ids=[volume_id])
        [record] = (await self._routed.node(node).peer().Describe(request, timeout=10)).records
        return f"{record.namespace}/{record.claim} {record.persistent}"


@pytest.mark.parametrize(("after", "pause"), [(600, 200), (3600, INTERVAL), (1, 1)])
def test_a_volume_is_looked_at_several_times_before_it_is_an_orphan(
    after: float, pause: float
) -> None:
    assert interval(after) == pause


def test_volumes_that_no_persistentvolume_names_are_found_on_all_nodes() -> None:
    async def scenario(routed: Routed) -> None:
        surveyed = Surveyed(routed)
        named = await routed.create("v", "a")
        orphans = {await routed.create(f"o-{node}", node) for node in "ab"}
        surveyed.api.items = [persistent_volume("v", named)]
        assert await surveyed.look() == set()
        assert await surveyed.look() == orphans
        await routed.stop("b")
        assert await surveyed.look() == orphans, "nothing new is known of node b"
        for volume_id in orphans:
            surveyed.api.items.append(persistent_volume(volume_id, volume_id))
        assert await surveyed.look() == orphans & routed.images("b")

    play(scenario)


def test_nothing_is_an_orphan_because_kubernetes_does_not_answer() -> None:
    async def scenario(routed: Routed) -> None:
        surveyed = Surveyed(routed)
        surveyed.api.items = [persistent_volume("v", await routed.create("v", "a"))]
        surveyed.api.broken = True
        lines: list[str] = []
        sink = logger.add(lambda line: lines.append(str(line)), level="WARNING")
        keeping = asyncio.create_task(surveyed.survey.repeat(routed.nodes))
        for _ in range(20):
            surveyed.now += 1
            await asyncio.sleep(0.01)
        assert not keeping.done()
        logger.remove(sink)
        assert ["not compared" in line for line in lines] == [True], "it is said once"
        assert await surveyed.orphans() == set()
        keeping.cancel()

    play(scenario)


def test_a_volume_is_told_of_the_claim_to_which_its_persistentvolume_is_bound() -> None:
    async def scenario(routed: Routed) -> None:
        surveyed = Surveyed(routed)
        volume_id = await routed.create("v", "a")
        surveyed.api.items = [persistent_volume("pv", volume_id)]
        await surveyed.look()
        assert await surveyed.names("a", volume_id) == "/ ", "it is bound to none"
        for claim in ("shop/data", "shop/restored"):
            surveyed.api.items = [persistent_volume("pv", volume_id, claim=claim)]
            await surveyed.look()
            assert await surveyed.names("a", volume_id) == f"{claim} pv"

    play(scenario)


def test_a_volume_is_told_once_and_a_refusal_stops_no_other() -> None:
    async def scenario(routed: Routed) -> None:
        surveyed = Surveyed(routed)
        ids = [await routed.create(name, "a") for name in ("one", "two")]
        strange = persistent_volume("NO NAME", ids[0], claim="shop/data")
        surveyed.api.items = [strange, persistent_volume("pv", ids[1], claim="shop/data")]
        for _ in range(2):
            await surveyed.look()
        assert await surveyed.names("a", ids[0]) == "/ "
        assert await surveyed.names("a", ids[1]) == "shop/data pv"
        assert surveyed.survey._known.keys() == {ids[1]}

    play(scenario)
