"""What people are shown of pools, volumes and snapshots."""

from __future__ import annotations

import json

from tests.unit.cli.conftest import (
    HANDLE,
    INLINE,
    VOLUME,
    run,
)


def test_of_a_pool_that_is_away_nothing_is_known(endpoint: str) -> None:
    slow = next(
        line for line in run("pools", "--endpoint", endpoint).splitlines() if "slow" in line
    )
    assert slow.split().count("-") == 8


def test_a_pool_that_is_away_says_why(endpoint: str) -> None:
    assert "slow is unavailable: no marker" in run("pools", "--endpoint", endpoint)


def test_volumes_show_their_claim(endpoint: str) -> None:
    head, line, *_ = run("volumes", "--endpoint", endpoint).splitlines()
    assert head.split()[:4] == ["VOLUME", "NAME", "CLAIM", "POOL"]
    assert line.split()[:4] == [VOLUME, "pvc-1", "shop/data", "fast"]
    volume, *_ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    keys = ("namespace", "claim", "persistent_volume")
    assert [volume[key] for key in keys] == ["shop", "data", "pvc-1"]


def test_a_volume_of_a_pod_is_marked_and_its_long_name_is_cut(endpoint: str) -> None:
    *_, line = run("volumes", "--endpoint", endpoint).splitlines()
    assert line.split()[:2] == [INLINE, "csi-eeeeeeee…"]
    assert "inline, of a pod" in line
    _, clone, inline = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert (inline["name"], inline["inline"], clone["inline"]) == (HANDLE, True, False)


def test_a_wide_table_has_more_columns(endpoint: str) -> None:
    head, *_ = run("volumes", "-o", "wide", "--endpoint", endpoint).splitlines()
    assert "CREATED" in head
    assert "BLOCK SIZE" in head
