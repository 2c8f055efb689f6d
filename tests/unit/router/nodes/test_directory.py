"""The list of nodes in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from driver.core.errors import Invalid
from driver.router.nodes.directory import Member, StaticFile, parse

TEXT = "nodes: [{name: a, address: '127.0.0.1:9501'}, {name: b, address: 'h:2', cordoned: true}]"
A = Member(name="a", address="127.0.0.1:9501")
B = Member(name="b", address="h:2", cordoned=True)


def test_a_file_names_nodes_and_addresses() -> None:
    assert parse(TEXT) == (A, B)
    assert parse("nodes: []") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nodes: 3",
        "nodes: [a]",
        "nodes: [{name: a}]",
        "nodes: [{address: 'h:1'}]",
        "nodes: [{name: a, address: h}]",
        "nodes: [{name: a, address: 'h:1', port: 2}]",
        "nodes: [{name: a, address: 'h:1'}, {name: a, address: 'h:2'}]",
        "nodes: [",
    ],
)
def test_what_is_no_list_of_nodes_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_a_file_that_is_not_there_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="nothing"):
        StaticFile(tmp_path / "nothing").read()


def test_changes_are_told_and_mistakes_are_not(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(TEXT)
    passed: list[Sequence[Member]] = []

    async def scenario() -> None:
        changed = asyncio.Event()

        def on_members(members: Sequence[Member]) -> None:
            passed.append(members)
            changed.set()

        watching = asyncio.create_task(StaticFile(path, poll_interval=0.001).watch(on_members))
        for text in (TEXT, "nodes: [", "nodes: []"):
            path.write_text(text)
            if text != "nodes: [":
                await asyncio.wait_for(changed.wait(), 10)
                changed.clear()
        watching.cancel()

    asyncio.run(scenario())
    assert passed == [(A, B), ()]
