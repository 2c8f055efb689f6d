"""What the number of volumes, mounts, callers and nodes costs: `make bench-scale`.

`python -m tests.bench.scale PART...` measures some of the parts only. It prints the targets beside
the figures, writes both into docs/performance.md if told to, and asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import grpc
from rich.console import Console
from rich.table import Table

from tests.bench import extents, nodes, performance, storm, volumes
from tests.bench.measures import Figure
from tests.bench.scale_rows import Row

IN_NAMESPACE = "CELLAR_BENCH_NAMESPACE"
PRIVATE = ("unshare", "--mount", "--propagation", "private")


def main() -> int:
    options = _options()
    if os.geteuid():
        sys.stderr.write("the benchmark needs root: it makes loop devices and mounts\n")
        return 1
    if IN_NAMESPACE not in os.environ:
        words = [*PRIVATE, sys.executable, "-m", "tests.bench.scale", *sys.argv[1:]]
        os.execvpe(words[0], words, {**os.environ, IN_NAMESPACE: "1"})
    failed = False
    for part in options.parts or PARTS:
        try:
            PARTS[part](options)
        except (AssertionError, OSError, grpc.RpcError):  # the others are measured all the same
            traceback.print_exc()
            failed = True
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--volumes", type=int, default=10_000)
    parser.add_argument("--mounted", type=int, default=1_000)
    parser.add_argument("--nodes", type=int, default=nodes.NODES)
    parser.add_argument("-n", "--rounds", type=int, default=30, help="calls for each median")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md too")
    return parser.parse_args()


def _volumes(options: argparse.Namespace) -> None:
    rows, curves = volumes.measured(options.volumes, options.mounted, options.rounds)
    counts = f"{options.volumes:,} volumes, {options.mounted:,} of them mounted"
    _print(_compared(counts, rows))
    if options.write:
        performance.write_rows("volumes", counts, rows)
        performance.write_plot("volumes", "What a call costs on one node", "volumes", curves)


def _images(options: argparse.Namespace) -> None:
    _show("images", "images and what they lie on", extents.measured(), write=options.write)


def _storm(options: argparse.Namespace) -> None:
    with volumes.served_pool() as served:
        figures = storm.measured(served.csi.driver.endpoint, served.node.kubelet)
    _show("storm", "many callers at once", figures, write=options.write)


def _nodes(options: argparse.Namespace) -> None:
    figures, curves = nodes.measured(options.nodes)
    title = f"a router of {options.nodes:,} nodes"
    _show("nodes", title, figures, write=options.write)
    if options.write:
        performance.write_plot("nodes", "What a call through a router costs", "nodes", curves)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "volumes": _volumes,
    "storm": _storm,
    "images": _images,
    "nodes": _nodes,
}


def _show(part: str, title: str, figures: Sequence[Figure], *, write: bool) -> None:
    table = Table(title=title)
    for column in ("what", "value", "target", "note"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for figure in figures:
        value = f"{figure.value:,.1f} {figure.unit}"
        table.add_row(figure.name, value, figure.target, figure.note)
    _print(table)
    if write:
        performance.write_figures(part, figures)


def _compared(counts: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"{counts}, against an empty driver")
    for column in ("what", "empty", "full", "target", ""):
        table.add_column(column, justify="right" if column in {"empty", "full"} else "left")
    for row in rows:
        full = f"{row.full:.1f} {row.unit}"
        table.add_row(row.name, f"{row.empty:.1f}", full, row.target, "" if row.kept else "missed")
    return table


def _print(table: Table) -> None:
    console = Console()
    Console(width=max(console.width, 120)).print(table)


if __name__ == "__main__":
    sys.exit(main())
