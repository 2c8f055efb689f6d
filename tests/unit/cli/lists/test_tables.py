"""The tables against a server that answers as the driver does, over a real socket."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.unit.cli.conftest import (
    CLONE,
    HANDLE,
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


def test_of_a_pool_that_is_away_nothing_is_known(endpoint: str) -> None:
    slow = next(
        line for line in run("pools", "--endpoint", endpoint).splitlines() if "slow" in line
    )
    assert slow.split().count("-") == 8


def test_a_pool_that_is_away_says_why(endpoint: str) -> None:
    assert "slow is unavailable: no marker" in run("pools", "--endpoint", endpoint)


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


def test_volumes_show_their_claim(endpoint: str) -> None:
    head, line, *_ = run("volumes", "--endpoint", endpoint).splitlines()
    assert head.split()[:4] == ["VOLUME", "NAME", "CLAIM", "POOL"]
    assert line.split()[:4] == [VOLUME, "pvc-1", "shop/data", "fast"]
    volume, *_ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    keys = ("namespace", "claim", "persistent_volume")
    assert [volume[key] for key in keys] == ["shop", "data", "pvc-1"]


def test_a_volume_without_a_record_is_listed_all_the_same(endpoint: str) -> None:
    _, clone, _ = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert (clone["id"], clone["name"]) == (CLONE, "")


def test_a_volume_of_a_pod_is_marked_and_its_long_name_is_cut(endpoint: str) -> None:
    *_, line = run("volumes", "--endpoint", endpoint).splitlines()
    assert line.split()[:2] == [INLINE, "csi-eeeeeeee…"]
    assert "inline, of a pod" in line
    _, clone, inline = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert (inline["name"], inline["inline"], clone["inline"]) == (HANDLE, True, False)


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


def test_volumes_as_yaml_are_those_as_json(endpoint: str) -> None:
    as_yaml, as_json = (
        run("volumes", "-o", form, "--endpoint", endpoint) for form in ("yaml", "json")
    )
    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_a_wide_table_has_more_columns(endpoint: str) -> None:
    head, *_ = run("volumes", "-o", "wide", "--endpoint", endpoint).splitlines()
    assert "CREATED" in head
    assert "BLOCK SIZE" in head


def test_snapshots_are_listed(endpoint: str) -> None:
    _, line = run("snapshots", "--endpoint", endpoint).splitlines()
    assert line.startswith(SNAPSHOT)
    assert "1970-01-01T00:01:00+00:00" in line
    assert "snap-1" in line
    assert "not yet" in line


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
