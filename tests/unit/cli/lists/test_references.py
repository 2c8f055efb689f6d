from __future__ import annotations

import pytest

from driver.cli.lists.references import find_volume
from driver.cli.output import Row

POOL = "0123456789ab"


def row(key: str, name: str, claim: str) -> Row:
    return {
        "id": f"{POOL}-{key * 32}",
        "name": name,
        "persistent_volume": name,
        "namespace": "shop",
        "claim": claim,
    }


ROWS = [row("a", "pvc-1", "data"), row("b", "pvc-11", "logs"), row("c", "", "")]


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        (f"{POOL}-{'a' * 32}", "a"),
        (f"{POOL}-b", "b"),
        ("pvc-1", "a"),
        ("pvc-11", "b"),
        ("shop/logs", "b"),
    ],
)
def test_a_volume_is_found(reference: str, key: str) -> None:
    assert find_volume(reference, ROWS)["id"].endswith(key)


@pytest.mark.parametrize("reference", ["pvc-2", "shop/pvc-1", "other/data", "123456789ab", "/"])
def test_what_does_not_exist_is_not_guessed(reference: str) -> None:
    with pytest.raises(LookupError, match="no volume"):
        find_volume(reference, ROWS)


def test_what_may_be_several_is_refused() -> None:
    with pytest.raises(LookupError, match=f"any of 3 volumes: {POOL}-a"):
        find_volume(POOL, ROWS)
