"""Which node keeps a name."""

from __future__ import annotations

from driver.router.name_reservations import choose_keeper
from tests.unit.router.reported import reported


def test_a_name_is_kept_by_the_same_node_for_all_routers() -> None:
    nodes = [reported(name=name) for name in "abc"]
    keys = [f"{number:032x}" for number in range(64)]
    assert {choose_keeper(nodes, key).name for key in keys} == {"a", "b", "c"}
    for key in keys:
        assert choose_keeper(nodes, key) is choose_keeper(nodes[::-1], key)
