from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from driver.cli.lists.selection import Selection, SortKey
from driver.cli.output import Row


def row(name: str, **values: Any) -> Row:
    usual = {
        "pool": "fast",
        "namespace": "shop",
        "claim": name,
        "size_bytes": 1,
        "created": "2026-01-01",
        "abnormal": False,
    }
    return {"name": name} | usual | values


A = row("a", pool="slow", size_bytes=3, created="2026-01-03")
B = row("b", namespace="bank", size_bytes=1, created="2026-01-02")
C = row("c", abnormal=True, size_bytes=2)


def names(selection: Selection) -> str:
    return "".join(row["name"] for row in selection.apply([A, B, C]))


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (Selection(), "abc"),
        (Selection(pool="fast"), "bc"),
        (Selection(namespace="shop"), "ac"),
        (Selection(unhealthy=True), "c"),
        (Selection(pool="fast", namespace="shop"), "c"),
        (Selection(pool="no such pool"), ""),
    ],
)
def test_rows_are_selected(selection: Selection, selected: str) -> None:
    assert names(selection) == selected


@pytest.mark.parametrize(
    ("key", "order"),
    [
        (SortKey.NAME, "abc"),
        (SortKey.CLAIM, "bac"),
        (SortKey.POOL, "bca"),
        (SortKey.SIZE, "acb"),
        (SortKey.CREATED, "abc"),
        (SortKey.CONDITION, "cab"),
    ],
)
def test_rows_are_sorted(key: SortKey, order: str) -> None:
    assert names(Selection(sort=key)) == order


def test_unsorted_rows_come_as_they_come() -> None:
    taken: list[str] = []

    def rows() -> Iterator[Row]:
        for each in (A, B, C):
            taken.append(each["name"])
            yield each

    next(Selection().apply(rows()))
    assert taken == ["a"]
