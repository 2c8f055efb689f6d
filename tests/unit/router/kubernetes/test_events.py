"""Events of nodes: one for each fact, whoever records it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.router.kubernetes.api import ApiError, Json
from driver.router.kubernetes.events import Events
from tests.support.waiting import wait_until_async


class FakeApi:
    """The API server's events: a name that exists is a conflict."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.created: dict[str, Json] = {}

    async def create(self, path: str, item: Json) -> Json:
        assert path == f"/api/v1/namespaces/{item['metadata']['namespace']}/events"
        name = item["metadata"]["name"]
        if self.status or name in self.created:
            raise ApiError("refused", status=self.status or 409)
        self.created[name] = item
        return item

    async def get(self, path: str, **_: str) -> Json:
        raise ApiError(path, status=404)


def events(api: Any, component: str = "router-1") -> Events:
    return Events(
        api,
        component,
        lambda node: "uid-1" if node == "a" else "",
        lambda: datetime(2026, 1, 2, tzinfo=UTC),
    )


def record(api: Any, *facts: tuple[str, str, str], component: str = "router-1") -> None:
    async def run() -> None:
        for fact in facts:
            await events(api, component).record(*fact)

    asyncio.run(run())


def test_a_repeat_and_another_router_record_the_same_event() -> None:
    api, fact = FakeApi(), ("a", "PoolShownTwice", "pool 1 is on two nodes")
    record(api, fact, fact)
    record(api, fact, component="router-2")
    assert len(api.created) == 1


@pytest.mark.parametrize(
    "other",
    [
        ("b", "PoolShownTwice", "text"),
        ("a", "VolumeGivenUp", "text"),
        ("a", "PoolShownTwice", "another text"),
    ],
)
def test_another_node_reason_or_text_is_another_event(other: tuple[str, str, str]) -> None:
    api = FakeApi()
    record(api, ("a", "PoolShownTwice", "text"), other)
    assert len(api.created) == 2


def test_an_event_is_shown_with_its_node() -> None:
    """The command kubectl finds Events of a Node by its uid; kubelet uses the name where it has none."""
    api = FakeApi()
    record(api, ("a", "Reason", "text"), ("gone", "Reason", "text"))
    of = {event["involvedObject"]["name"]: event for event in api.created.values()}
    assert of["a"]["involvedObject"]["uid"] == "uid-1"
    assert of["gone"]["involvedObject"]["uid"] == "gone"
    assert of["a"]["firstTimestamp"] == "2026-01-02T00:00:00Z"
    assert {event["type"] for event in of.values()} == {"Warning"}


def test_a_server_that_refuses_fails_nobody() -> None:
    record(FakeApi(status=500), ("a", "Reason", "text"))


def test_what_is_recorded_soon_is_kept_until_it_is_done() -> None:
    """The event loop has only weak references to tasks."""
    api = FakeApi()

    async def run() -> None:
        recorder = events(api)
        recorder.record_soon("a", "Reason", "text")
        assert len(recorder._recording) == 1
        await wait_until_async(lambda: not recorder._recording)

    asyncio.run(run())
    assert len(api.created) == 1


UID = "0c5f5b1e-3f0e-4d5e-9b3a-0123456789ab"
UNHEALTHY = cellar.Event(
    number=3,
    at=1767312000.25,
    reason="VolumeUnhealthy",
    text="the filesystem reports 3 errors",
    warning=True,
    kind="claim",
    namespace="shop",
    name="data",
    persistent=f"pvc-{UID}",
    volume_id="v",
)


def record_reported(api: Any, *reported: cellar.Event, routers: int = 1) -> None:
    async def run() -> None:
        recorders = [events(api, f"router-{number}") for number in range(routers)]
        for recorder in recorders:
            for event in reported:
                recorder.record_reported_soon("a", event)
        await wait_until_async(lambda: not any(recorder._recording for recorder in recorders))

    asyncio.run(run())


def test_what_a_node_reports_of_a_claim_is_an_event_of_the_claim() -> None:
    api = FakeApi()
    record_reported(api, UNHEALTHY)
    [event] = api.created.values()
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "shop",
        "name": "data",
        "uid": UID,
    }
    assert event["metadata"]["namespace"] == "shop"
    assert (event["type"], event["reason"]) == ("Warning", "VolumeUnhealthy")
    assert event["message"] == "the filesystem reports 3 errors (node a)"
    assert event["firstTimestamp"] == "2026-01-02T00:00:00Z"


def test_what_two_routers_hear_and_hear_again_is_one_event() -> None:
    api = FakeApi()
    record_reported(api, UNHEALTHY, UNHEALTHY, routers=2)
    assert len(api.created) == 1


def test_the_same_again_later_is_another_event() -> None:
    api, later = FakeApi(), cellar.Event()
    later.CopyFrom(UNHEALTHY)
    later.number, later.at = 4, UNHEALTHY.at + 60
    record_reported(api, UNHEALTHY, later)
    assert len(api.created) == 2


def test_what_a_node_reports_of_itself_is_an_event_of_the_node() -> None:
    api = FakeApi()
    record_reported(api, cellar.Event(at=1.0, reason="PoolAvailable", text="pool fast is back"))
    [event] = api.created.values()
    assert (event["involvedObject"]["kind"], event["involvedObject"]["uid"]) == ("Node", "uid-1")
    assert (event["metadata"]["namespace"], event["type"]) == ("default", "Normal")
    assert event["message"] == "pool fast is back"


def test_a_pool_that_is_away_again_has_another_event_after_a_while() -> None:
    api = FakeApi()

    def recorded_at(minute: int) -> None:
        anything: Any = api
        moment = datetime(2026, 1, 2, 3, minute, tzinfo=UTC)
        recorder = Events(anything, "router-1", lambda _: "", lambda: moment)
        asyncio.run(recorder.record("a", "PoolUnavailable", "pool fast cannot be used"))
        asyncio.run(recorder.record("a", "PoolAvailable", "pool fast can be used again"))

    for minute in (1, 2, 15):
        recorded_at(minute)
    assert (
        sorted(event["type"] for event in api.created.values()) == ["Normal"] * 2 + ["Warning"] * 2
    )
