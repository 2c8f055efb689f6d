"""The conditions of the chart's alerts that can be derived from the data of the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Final

from driver.cli.lists.activity import condition_row
from driver.cli.output import Row

SEVERITIES: Final = {
    "CellarPoolUnavailable": "critical",
    "CellarPoolNearlyFull": "warning",
    "CellarPoolDataNearlyFull": "warning",
    "CellarDirectIoLost": "info",
    "CellarNodeUnavailable": "critical",
    "CellarRouterWithoutNodes": "critical",
    "CellarCallsFail": "warning",
    "CellarCallsSlow": "warning",
    "CellarCopyStuck": "warning",
}
NEARLY_FULL: Final = 0.9  # of what a pool can promise, or of its data
METADATA_NEARLY_FULL: Final = 0.8
RECENT: Final = timedelta(minutes=10)
FAILURES: Final = 3  # calls at least, which are a fifth of those of a method
SLOW: Final = 10.0  # seconds that a tenth of the calls takes
STUCK: Final = 1800.0  # seconds without progress
_FAILED: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED"})


def check_pools(pools: Iterable[Row]) -> Iterator[Row]:
    """Yield a row for the page's list of problems for each pool that is unavailable, nearly full,
    or without direct I/O.
    """
    for pool in pools:
        name, node = f"Pool {pool['name']}", pool["node"]
        if pool["away"]:
            yield _row("CellarPoolUnavailable", f"{name} cannot be used: {pool['away']}", node)
            continue
        if pool["size_bytes"] and pool["committed_bytes"] / pool["size_bytes"] > NEARLY_FULL:
            share = pool["committed_bytes"] / pool["size_bytes"]
            yield _row("CellarPoolNearlyFull", f"{name} is promised to {share:.0%}", node)
        data, metadata = pool["occupied"] or 0, pool["metadata_occupied"] or 0
        if pool["type"] == "lvm" and (data > NEARLY_FULL or metadata > METADATA_NEARLY_FULL):
            text = f"{name}: {data:.0%} of its data are occupied, {metadata:.0%} of its metadata"
            yield _row("CellarPoolDataNearlyFull", text, node)
        if pool["type"] == "loopfile" and not pool["direct_io"]:
            yield _row("CellarDirectIoLost", f"{name} goes through the page cache", node)


def check_nodes(nodes: Sequence[Row]) -> Iterator[Row]:
    """Yield a row for the page's list of problems for each node that the router cannot reach."""
    for node in nodes:
        if not node["reachable"]:
            text = f"The driver of the node is not reached: {node['problem']}"
            yield _row("CellarNodeUnavailable", text, node["name"])
    if nodes and not any(node["reachable"] for node in nodes):
        yield _row("CellarRouterWithoutNodes", "The router reaches no node")


def check_calls(calls: Iterable[Row], now: datetime) -> Iterator[Row]:
    """Yield a row for the page's list of problems for each RPC that failed or was slow in the ten
    minutes before `now`.
    """
    methods: defaultdict[str, list[Row]] = defaultdict(list)
    for call in calls:
        if now - datetime.fromisoformat(call["ended"]) <= RECENT:
            methods[call["rpc"]].append(call)
    for method, ended in methods.items():
        failures = [call for call in ended if call["code"] in _FAILED]
        if len(failures) >= FAILURES and len(failures) / len(ended) > 0.2:
            text = (
                f"{len(failures)} of {len(ended)} calls of {method} failed: {failures[-1]['error']}"
            )
            yield _row("CellarCallsFail", text)
        if method != "Watch" and not method.endswith("Snapshot") and len(ended) >= FAILURES:
            slowest = quantiles([call["seconds"] for call in ended], n=10)[-1]
            if slowest > SLOW:
                yield _row("CellarCallsSlow", f"{method} takes {slowest:.0f} s")


class StuckCopies:
    """Finds copies of images that make no progress, by comparing how far they are with earlier
    calls of `find`.
    """

    def __init__(self) -> None:
        self._seen: Mapping[str, tuple[int, float]] = {}  # bytes, and since when

    def find(self, copies: Mapping[str, Row], now: float) -> Iterator[Row]:
        """Yield a row for the page's list of problems for each copy of an image that has made no
        progress for half an hour.

        `copies`: all running copies, each by a text that identifies the copy; `now`: monotonic
        seconds.
        """
        before = self._seen
        seen: dict[str, tuple[int, float]] = {}
        for key, copy in copies.items():
            copied, since = before.get(key, (-1, now))
            seen[key] = copied, since = (
                (copied, since) if copied == copy["copied_bytes"] else (copy["copied_bytes"], now)
            )
            if now - since > STUCK:
                text = f"No progress for {(now - since) / 60:.0f} minutes: {copy['text']}"
                yield _row("CellarCopyStuck", text, copy["node"])
        self._seen = seen


def _row(alert: str, text: str, node: str = "") -> Row:
    return condition_row(alert, SEVERITIES[alert], text, node=node)
