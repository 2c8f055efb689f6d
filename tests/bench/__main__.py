"""The benchmark: `make bench`, or `python -m tests.bench`.

One run measures, side by side, this driver, the floor (the same work as bare syscalls) and, with
PEER=unix:///PATH, any other CSI driver that listens there. It prints the project's targets beside
the figures and asserts nothing: a time depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import measures
from tests.bench.measures import Contest, Figure
from tests.bench.peer import Peer
from tests.bench.routed import routed
from tests.support.client import Csi
from tests.support.disks import GIB
from tests.support.node import Node

POOL = 16 * GIB  # sparse: what is written to it is what it costs
SETTINGS = "allocation=sparse,overcommit=1000"

Kept = Callable[[Iterator[Figure]], None]


def main() -> int:
    options = _options()
    if os.geteuid():
        sys.stderr.write("the benchmark needs root: it makes loop devices and mounts\n")
        return 1
    figures: list[Figure] = []
    console = Console(stderr=True)

    def keep(measured: Iterator[Figure]) -> None:
        for figure in measured:
            figures.append(figure)
            console.print(f"[dim]{figure.name}: {figure.value:.1f} {figure.unit}[/dim]")

    for fs in options.pools:
        _measure(fs, options, keep)
    if not options.quick:
        keep(routed(options.rounds))
    if options.output == "json":
        sys.stdout.write(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    else:
        Console(width=max(console.width, 120)).print(_table(figures))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.add_argument("-n", "--rounds", type=int, default=30, help="lives for each median")
    parser.add_argument(
        "--pools", nargs="+", choices=["xfs", "ext4", "btrfs"], default=["xfs", "ext4", "btrfs"]
    )
    parser.add_argument("--quick", action="store_true", help="only the lives")
    return parser.parse_args()


def _measure(fs: str, options: argparse.Namespace, keep: Kept) -> None:
    with _contest(fs) as (node, csi, contest, pool):
        keep(measures.one_life(contest, fs, options.rounds))
        keep(measures.parallel_lives(contest, fs, max(3, options.rounds // 2)))
        if options.quick:
            return
        if fs != "ext4":  # no reflink there: a copy, as long as it takes
            keep(measures.snapshots(node, csi, contest.pool, fs, 5))
            keep(measures.fragmented(node, csi, contest.pool, fs, 3))
        if fs == "xfs":
            keep(measures.listing(csi))
            csi.driver.stop()
            keep(measures.starting(node, pool, 5))


@contextmanager
def _contest(fs: str) -> Iterator[tuple[Node, Csi, Contest, str]]:
    with tempfile.TemporaryDirectory(prefix="cellar-bench-") as base:
        node = Node(Path(base))
        try:
            disk = node.disk(fs, POOL)
            floor = disk.where / "floor"
            pool = f"p=loopfile:{disk.where},{SETTINGS}"
            csi = node.start(pool)
            floor.mkdir()
            endpoint = os.environ.get("PEER")
            peer = Peer(endpoint, node.kubelet) if endpoint else None
            ours = Peer(csi.driver.endpoint, node.kubelet)
            yield node, csi, Contest(disk.where, floor, node.kubelet, ours, peer), pool
        finally:
            node.close()


def _table(figures: list[Figure]) -> Table:
    peer = any(figure.peer is not None for figure in figures)
    table = Table(title="cellar, its floor and its targets")
    table.add_column("what")
    for column in ("cellar", "floor", "ratio", *(["peer"] if peer else [])):
        table.add_column(column, justify="right")
    table.add_column("target")
    table.add_column("note")
    for figure in figures:
        cells = [
            figure.name,
            f"{figure.value:.1f} {figure.unit}",
            _number(figure.floor),
            _number(figure.ratio),
        ]
        cells += [_number(figure.peer)] if peer else []
        table.add_row(*cells, figure.target, figure.note)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
