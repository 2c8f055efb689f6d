"""Pools, volumes and snapshots as rows, for programs."""

from __future__ import annotations

import json

import yaml

from tests.unit.cli.conftest import (
    CLONE,
    POOL,
    SNAPSHOT,
    run,
)


def test_pools_as_json(endpoint: str) -> None:
    fast, slow = json.loads(run("pools", "-o", "json", "--endpoint", endpoint))
    assert (fast["name"], fast["volumes"], fast["reflink"]) == ("fast", 2, True)
    assert slow["away"] == "no marker"


def test_volumes_of_all_pages_are_listed(endpoint: str) -> None:
    _, first, second, _ = run("volumes", "--endpoint", endpoint).splitlines()
    assert first.split()[1:7] == ["pvc-1", "shop/data", "fast", "1", "GiB", "ext4"]
    assert "image is gone" in first
    assert second.startswith(CLONE)
    assert f"snapshot {POOL}-bbbbbbbb…" in second


def test_volumes_as_json_keep_whole_ids(endpoint: str) -> None:
    _, clone, _ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert clone["source"] == f"snapshot {SNAPSHOT}"
    assert clone["pool"] == "fast"


def test_a_volume_without_a_record_is_listed_all_the_same(endpoint: str) -> None:
    _, clone, _ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert (clone["id"], clone["name"]) == (CLONE, "")


def test_volumes_as_yaml_are_those_as_json(endpoint: str) -> None:
    as_yaml, as_json = (
        run("volumes", "-o", form, "--endpoint", endpoint) for form in ("yaml", "json")
    )
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
