"""Relations between the timings of routers and nodes, on which neither may stop to rely."""

from __future__ import annotations

from driver.csi import protocol
from driver.services.node_reports import NAMES_PAUSE
from driver.volumes.copies.copying import FREEZE_BOUND


def test_a_report_is_believed_for_longer_than_the_next_one_takes() -> None:
    longest = protocol.REPORT_INTERVAL + protocol.REPORT_TIMEOUT
    assert longest + 1 < protocol.REPORT_LIFETIME
    assert protocol.POOL_REPORT_TIMEOUT < protocol.REPORT_TIMEOUT


def test_a_node_knows_of_a_name_for_longer_than_a_router_relies_on_its_search() -> None:
    on_its_way = protocol.REPORT_LIFETIME  # a report that a router takes, at most
    assert protocol.NAME_SEARCH_LIFETIME + on_its_way < protocol.NAME_MEMORY
    longest = protocol.REPORT_INTERVAL + protocol.POOL_REPORT_TIMEOUT + NAMES_PAUSE
    assert longest < protocol.NAME_SEARCH_LIFETIME
    assert protocol.NAME_WAIT < protocol.NODE_TIMEOUT


def test_a_router_waits_for_longer_than_a_node_keeps_writers_from_writing() -> None:
    assert FREEZE_BOUND < protocol.GROUP_UNDO_TIMEOUT < protocol.GROUP_STEP_TIMEOUT


def test_a_router_may_ping_as_often_as_it_does() -> None:
    assert protocol.KEEPALIVE_MINIMUM_MS < protocol.KEEPALIVE_INTERVAL_MS


def test_the_values_that_older_versions_have_stay() -> None:
    """A change of one of these needs a look at what the version before does with it."""
    assert protocol.KNOWN_NODE == "cellar-known-node"
    assert (protocol.NAME_MEMORY, protocol.NAME_SEARCH_LIFETIME) == (10, 4)
    assert (protocol.REPORT_INTERVAL, protocol.REPORT_LIFETIME) == (2, 5)
