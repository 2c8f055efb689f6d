"""Which snapshots make a group."""

from __future__ import annotations

import pytest

from driver.core import groups
from driver.core.errors import Conflict, Invalid
from driver.core.ids import SnapshotId

KEY = "f" * 32
A, B, C = (SnapshotId("1" * 12, digit * 32) for digit in "abc")


def test_a_request_may_name_no_member_or_all_in_any_order() -> None:
    for named in ((), (A, B), (B, A), (A, B, B)):
        groups.check_members(KEY, named, [A, B])


@pytest.mark.parametrize("named", [(A,), (A, B, C), (C,), (A, C)])
def test_a_request_that_names_others_is_told_which_members_there_are(
    named: tuple[SnapshotId, ...],
) -> None:
    with pytest.raises(Invalid) as caught:
        groups.check_members(KEY, named, [B, A])
    assert str(caught.value).endswith(f"{A}, {B}")


@pytest.mark.parametrize("requested", [(A,), (A, B, C), (C,), ()])
def test_a_group_of_other_volumes_has_the_name(requested: tuple[SnapshotId, ...]) -> None:
    with pytest.raises(Conflict, match="'g' exists, of other volumes"):
        groups.check_sources("g", requested, [A, B])
    groups.check_sources("g", [B, A], [A, B])


def test_the_errors_name_the_group_and_what_it_lacks() -> None:
    assert KEY in str(groups.no_group(KEY))
    assert str(B) in str(groups.incomplete(KEY, B))
