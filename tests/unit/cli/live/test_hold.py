"""`cellar hold` and `release`: a volume is named by its id, its name or its claim."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import CLONE, VOLUME, run


@pytest.mark.parametrize("name", [VOLUME, "pvc-1", "shop/data"])
def test_a_volume_is_held_and_released_by_any_of_its_names(endpoint: str, name: str) -> None:
    assert f"{VOLUME} is held" in run("hold", name, "--endpoint", endpoint)
    assert f"{VOLUME} is not held" in run("release", name, "--endpoint", endpoint)


def test_what_is_not_found_is_an_error(endpoint: str) -> None:
    assert "no volume 'pvc-9'" in run("hold", "pvc-9", "--endpoint", endpoint, status=1)
    assert "NOT_FOUND" in run("hold", CLONE, "--endpoint", endpoint, status=1)


def test_lists_show_what_is_held(endpoint: str) -> None:
    first, *others = json.loads(run("volumes", "-o", "json", "--endpoint", endpoint))
    assert first["held"]
    assert not any(other["held"] for other in others)
