"""The volumes that a node has, page by page."""

from __future__ import annotations

import pytest

from driver.core.errors import PoolUnavailable
from driver.router.nodes import listed_volumes
from driver.router.nodes.listed_volumes import list_volumes
from tests.unit.router.routed import Routed, play

NAMES = {"pvc/name": "data", "pvc/namespace": "shop", "pv/name": "v0"}


def test_all_pages_are_listed_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed_volumes, "PAGE", 2)

    async def scenario(routed: Routed) -> None:
        parameters = {f"csi.storage.k8s.io/{key}": name for key, name in NAMES.items()}
        ids = [
            await routed.create(f"v{number}", "a", parameters=parameters if not number else {})
            for number in range(5)
        ]
        listed = await list_volumes(routed.node("a"))
        assert listed.pools == {routed.pools["a"].backend.id: "pool-a"}
        assert sorted(volume.id for volume in listed.volumes) == sorted(ids)
        [named] = [volume for volume in listed.volumes if volume.claim]
        assert (named.id, named.namespace, named.claim) == (ids[0], "shop", "data")
        assert (named.persistent, named.node, named.pool) == ("v0", "a", "pool-a")
        assert named.size > 0

    play(scenario)


def test_pools_that_are_hidden_or_unavailable_are_not_listed() -> None:
    async def scenario(routed: Routed) -> None:
        await routed.create("v", "a")
        hidden = await list_volumes(routed.node("a"), {routed.pools["a"].backend.id})
        assert (hidden.pools, hidden.volumes) == ({}, [])

    play(scenario)


def test_a_node_that_does_not_answer_is_an_error() -> None:
    async def scenario(routed: Routed) -> None:
        await routed.stop("a")
        with pytest.raises(PoolUnavailable):
            await list_volumes(routed.node("a"))

    play(scenario)
