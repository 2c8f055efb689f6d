"""Where a new volume goes, as a table of facts and decisions."""

from __future__ import annotations

import pytest

from driver.core.errors import NoSpace, PoolUnavailable
from driver.router.placement import Candidate, Requirement, check_source, order, parse_requirement

KEY = "cellar.csi.internal/node"
ANY = Requirement(None, ())
A, B, C = Candidate("a", 10), Candidate("b", 30), Candidate("c", 20)


def topologies(*names: str) -> list[dict[str, str]]:
    return [{KEY: name} for name in names]


def test_what_the_scheduler_chose_is_the_only_choice() -> None:
    requirement = parse_requirement(KEY, topologies("a", "b", "c"), topologies("a", "b", "c"))
    assert order(requirement, [A, B, C]) == ["a"]


def test_the_chosen_node_being_away_lets_the_scheduler_choose_again() -> None:
    with pytest.raises(NoSpace):
        order(parse_requirement(KEY, topologies("a", "b"), topologies("a", "b")), [B, C])


def test_without_a_choice_the_roomiest_of_those_that_will_do_comes_first() -> None:
    assert order(parse_requirement(KEY, topologies("a", "c"), []), [A, B, C]) == ["c", "a"]
    assert order(ANY, [A, B, C]) == ["b", "c", "a"]


def test_equal_room_is_decided_the_same_way_by_every_router() -> None:
    assert order(ANY, [Candidate("z", 5), Candidate("y", 5)]) == ["y", "z"]


def test_a_cordoned_node_takes_only_what_must_be_there() -> None:
    cordoned = Candidate("b", 30, cordoned=True)
    assert order(ANY, [A, cordoned]) == ["a"]
    assert order(parse_requirement(KEY, topologies("b"), topologies("b")), [A, cordoned]) == ["b"]
    with pytest.raises(NoSpace):
        order(ANY, [cordoned])


def test_a_node_that_shows_anothers_pool_takes_nothing() -> None:
    duplicated = Candidate("b", 30, duplicated=True)
    assert order(ANY, [A, duplicated]) == ["a"]
    with pytest.raises(NoSpace):
        order(parse_requirement(KEY, topologies("b"), topologies("b")), [A, duplicated])


def test_only_a_node_with_the_pool_is_tried_and_the_scheduler_may_choose_again() -> None:
    lacking = Candidate("b", 0, lacks_pool=True)
    assert order(ANY, [A, lacking]) == ["a"]
    for requirement in (ANY, parse_requirement(KEY, topologies("a", "b"), topologies("b", "a"))):
        with pytest.raises(NoSpace, match="other nodes have it"):
            order(requirement, [lacking])


def test_no_node_at_all_is_no_lack_of_room() -> None:
    with pytest.raises(PoolUnavailable):
        order(ANY, [])


def test_a_source_is_followed_or_nothing_is() -> None:
    check_source(ANY, "b")
    check_source(parse_requirement(KEY, topologies("a", "b"), []), "b")
    with pytest.raises(NoSpace):
        check_source(parse_requirement(KEY, topologies("a"), []), "b")
    with pytest.raises(NoSpace):
        check_source(parse_requirement(KEY, topologies("a", "c"), topologies("a", "c")), "b")
    # its pod was sent to another node first: it will follow
    check_source(parse_requirement(KEY, topologies("a", "b"), topologies("a", "b")), "b")


def test_topologies_of_others_name_no_node_of_ours() -> None:
    requirement = parse_requirement(KEY, [{"zone": "a"}, {KEY: "b", "zone": "a"}], [])
    assert requirement == Requirement(frozenset(), ())
    with pytest.raises(NoSpace):
        order(requirement, [A, B])


def test_keys_do_not_mind_their_case_and_no_segments_are_no_condition() -> None:
    assert parse_requirement(KEY, [{KEY.upper(): "a"}], []).requisite == frozenset({"a"})
    assert parse_requirement(KEY, [{}], []).requisite is None
