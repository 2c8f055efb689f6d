"""Lists and watches: what is missed, bookmarks, a server that is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.cluster.fake_apiserver import FakeCluster
from tests.cluster.kube import (
    CSINODES,
    NODES,
    endpoint,
    slice_of,
)
from tests.unit.router.kubernetes.conftest import Scenario, WatchedDirectory


@pytest.mark.parametrize("way", ["410 as an answer", "410 in the stream", "another error"])
def test_what_was_missed_is_seen_after_a_list(
    cluster: FakeCluster, play: Callable[[Scenario], None], way: str
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        cluster.refuse = "WATCH|GET"
        cluster.hang_up()
        await watched.until(
            lambda: not any(informer.up for informer in watched.directory.watches.values())
        )
        slice_of(cluster, "one", endpoint("a", "10.0.0.7"))
        cluster.remove(CSINODES, "b")
        if way == "410 as an answer":
            cluster.compact()
        elif way == "410 in the stream":
            cluster.error(410)
        else:
            cluster.error(500)
        cluster.refuse = ""
        await watched.becomes(a="10.0.0.7:9500")
        await watched.until(
            lambda: all(informer.up for informer in watched.directory.watches.values())
        )

    play(scenario)


def test_a_bookmark_moves_the_place_to_go_on_from(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        await watched.until(lambda: cluster.watching == 3)
        cluster.bookmark()
        version = str(cluster.version)
        await watched.until(
            lambda: all(
                informer._version == version for informer in watched.directory.watches.values()
            )
        )
        cluster.oldest = cluster.version
        before = len([line for line in cluster.asked if line.startswith("GET")])
        cluster.hang_up()
        slice_of(cluster, "one", endpoint("a", "10.0.0.7"))
        await watched.becomes(a="10.0.0.7:9500", b=None)
        after = len([line for line in cluster.asked if line.startswith("GET")])
        assert after == before, "it listed anew, and need not"

    play(scenario)


def test_nothing_is_told_before_all_is_known(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        cluster.refuse = "GET /api/v1/nodes"
        await watched.until(lambda: cluster.asked.count(f"GET {NODES}") > 2)
        assert watched.told == []
        cluster.refuse = ""
        await watched.becomes(a="10.0.0.1:9500", b=None)

    cluster.refuse = "GET /api/v1/nodes"
    play(scenario)


def test_a_server_that_is_down_is_not_asked_in_a_loop_without_pause(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(watched: WatchedDirectory) -> None:
        await watched.becomes(a="10.0.0.1:9500", b=None)
        cluster.refuse = "WATCH"
        before = len(cluster.asked)
        cluster.hang_up()
        await asyncio.sleep(0.5)
        assert 3 <= len(cluster.asked) - before < 120

    play(scenario)
