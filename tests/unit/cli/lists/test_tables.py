"""The tables against a server that answers as the driver does, over a real socket."""

from __future__ import annotations

import pytest

from driver.cli.output import ExitStatus
from tests.unit.cli.conftest import (
    CLONE,
    INLINE,
    POOL,
    SNAPSHOT,
    VOLUME,
    run,
)


@pytest.mark.parametrize("words", [["pools"], ["pools", "list"]])
def test_pools_are_listed_by_default_and_by_name(endpoint: str, words: list[str]) -> None:
    said = run(*words, "--endpoint", endpoint)
    fast = next(line for line in said.splitlines() if line.startswith("fast"))
    assert "loopfile:/srv/fast" in fast
    assert POOL in fast
    assert fast.split()[-7:-1] == ["10", "GiB", "2", "GiB", "7", "GiB"]
    assert "no (page cache)" in fast


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["volumes"], [VOLUME, CLONE, INLINE]),
        (["snapshots"], [SNAPSHOT]),
        (["pools"], ["fast", "slow"]),
    ],
)
def test_names_alone_are_what_other_commands_take(
    endpoint: str, words: list[str], lines: list[str]
) -> None:
    assert run(*words, "-o", "name", "--endpoint", endpoint).splitlines() == lines


def test_snapshots_are_listed(endpoint: str) -> None:
    _, line = run("snapshots", "--endpoint", endpoint).splitlines()
    assert line.startswith(SNAPSHOT)
    assert "1970-01-01T00:01:00+00:00" in line
    assert "snap-1" in line
    assert "not yet" in line


def test_orphans_are_those_that_a_router_found(router: str, endpoint: str) -> None:
    words = ("volumes", "--orphans", "-o", "name", "--endpoint")
    assert run(*words, router).splitlines() == [CLONE]
    said = run(*words, endpoint, status=ExitStatus.FAILED).replace("\n", " ")
    assert "kubectl cellar volumes --orphans" in said


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--namespace", "shop"], [VOLUME]),
        (["--unhealthy"], [VOLUME]),
        (["--pool", "slow"], []),
        (["--sort", "condition"], [VOLUME, CLONE, INLINE]),
        (["--sort", "claim", "--pool", "fast"], [CLONE, INLINE, VOLUME]),
    ],
)
def test_volumes_are_selected_and_sorted(endpoint: str, words: list[str], ids: list[str]) -> None:
    assert run("volumes", *words, "-o", "name", "--endpoint", endpoint).splitlines() == ids
