"""The names of a node, kept by the changes that it reports."""

from __future__ import annotations

from csi_proto import cellar_pb2 as cellar
from driver.core.ids import pack_digests as pack
from driver.csi.protocol import NAME_SEARCH_LIFETIME
from driver.router.nodes.reported_names import ReportedNames
from tests.unit.router.reported import reported


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
