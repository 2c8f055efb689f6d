"""Events of nodes: one for each fact, whoever records it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from driver.router.kubernetes.api import ApiError, Json
from driver.router.kubernetes.events import EVENTS, Events
from tests.support.waiting import wait_until_async


class FakeApi:
    """The API server's events: a name that exists is a conflict."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.created: dict[str, Json] = {}

    async def create(self, path: str, item: Json) -> Json:
        assert path == EVENTS
        name = item["metadata"]["name"]
        if self.status or name in self.created:
            raise ApiError("refused", status=self.status or 409)
        self.created[name] = item
        return item


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
