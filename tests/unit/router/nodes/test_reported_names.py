"""The names of a node, kept by the changes that it reports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from csi_proto import cellar_pb2 as cellar
from driver.core.ids import pack_digests as pack
from driver.csi.protocol import NAME_SEARCH_LIFETIME
from driver.router.nodes.reported_names import ReportedNames
from tests.unit.router.reported import reported

DIGESTS = st.integers(0, 11) | st.integers(0, 2**64 - 1)


def test_names_are_those_of_the_first_report_and_its_changes() -> None:
    names = ReportedNames()
    names.update(cellar.Names(complete=True, added=pack([1, 2])), 100.0)
    names.update(cellar.Names(added=pack([3]), removed=pack([1])), 102.0)
    assert [names.may_have(digest, 103.0) for digest in (1, 2, 3)] == [False, True, True]
    names.update(cellar.Names(complete=True, added=pack([4])), 104.0)
    assert [names.may_have(digest, 104.0) for digest in (2, 3, 4)] == [False, False, True]


def test_what_was_read_long_ago_or_never_rules_nothing_out() -> None:
    names = ReportedNames()
    assert names.may_have(1, 0.0)
    names.update(cellar.Names(complete=True, age=3.0), 100.0)
    assert not names.may_have(1, 97.0 + NAME_SEARCH_LIFETIME)
    assert names.may_have(1, 97.5 + NAME_SEARCH_LIFETIME)


def test_a_node_of_an_older_version_reports_none_and_may_have_any() -> None:
    node = reported()
    assert node.may_have(1)
    node._set_report(cellar.Report(node="a", names=cellar.Names(complete=True, added=pack([2]))))
    assert (node.may_have(1), node.may_have(2)) == (False, True)
    assert not node.report.HasField("names")  # they are kept once
    node._set_report(cellar.Report(node="a"))
    assert (node.may_have(1), node.may_have(2)) == (False, True)


@given(st.lists(st.tuples(st.sets(DIGESTS), st.sets(DIGESTS), st.booleans()), max_size=8))
def test_any_row_of_changes_leaves_what_a_set_would_have(
    changes: list[tuple[set[int], set[int], bool]],
) -> None:
    names, expected = ReportedNames(), set[int]()
    for added, removed, complete in changes:
        expected = added if complete else (expected - removed) | added
        message = cellar.Names(complete=complete, added=pack(added), removed=pack(removed))
        names.update(message, 100.0)
        assert list(names._digests) == sorted(expected)
        assert all(names.may_have(digest, 100.0) == (digest in expected) for digest in range(12))
