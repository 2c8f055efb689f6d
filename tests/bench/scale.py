"""What the number of volumes and mounts costs: `make bench-scale`, or `python -m tests.bench.scale`.

In one run an empty driver and one that has 10,000 volumes, of which 1,000 are mounted, answer the
same calls by turns. The mounts are slaves of another namespace, for which the kernel takes longest
to list them. It prints the targets beside the figures, writes both into docs/performance.md, and
asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from driver.core.model import GIB
from tests.bench import crowd, performance
from tests.bench.scale_rows import SIZE, Ground, Row, measured
from tests.support.disks import run
from tests.support.node import Node

SETTINGS = "allocation=sparse,overcommit=1000"
DISK = 100 * GIB  # sparse: what is written to it is what it costs
IN_NAMESPACE = "CELLAR_BENCH_NAMESPACE"
PRIVATE = ("unshare", "--mount", "--propagation", "private")
SLAVE = ("unshare", "--mount", "--propagation", "slave")


def main() -> int:
    options = _options()
    if os.geteuid():
        sys.stderr.write("the benchmark needs root: it makes loop devices and mounts\n")
        return 1
    if IN_NAMESPACE not in os.environ:
        words = [*PRIVATE, sys.executable, "-m", "tests.bench.scale", *sys.argv[1:]]
        os.execvpe(words[0], words, {**os.environ, IN_NAMESPACE: "1"})
    console, rows = Console(stderr=True), []
    with _ground() as empty, _ground() as full:
        _crowd(full, options.volumes, options.mounted)
        for row in measured(empty, full, options.rounds):
            rows.append(row)
            console.print(f"[dim]{row.name}: {row.full:.1f} {row.unit}[/dim]")
    counts = f"{options.volumes:,} volumes, {options.mounted:,} of them mounted"
    Console(width=max(console.width, 100)).print(_table(counts, rows))
    if options.write:
        performance.write_scale(counts, rows)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--volumes", type=int, default=10_000)
    parser.add_argument("--mounted", type=int, default=1_000)
    parser.add_argument("-n", "--rounds", type=int, default=30, help="calls for each median")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md too")
    return parser.parse_args()


@contextmanager
def _ground() -> Iterator[Ground]:
    """A node whose directory is a mount of its own; what is mounted below reaches namespaces that
    are made after it.
    """
    with tempfile.TemporaryDirectory(prefix="cellar-bench-") as base:
        run("mount", "--bind", base, base)
        run("mount", "--make-shared", base)
        node = Node(Path(base))
        try:
            disk = node.disk("xfs", DISK)
            csi = node.start(f"p=loopfile:{disk.where},{SETTINGS}", wrapper=SLAVE)
            yield Ground(node, disk.where, csi)
        finally:
            node.close()
            run("umount", "--recursive", base)


def _crowd(ground: Ground, volumes: int, mounted: int) -> None:
    """Mount volumes in the outer namespace, add the others to the pool, and start the driver anew
    in a namespace that is a slave of the outer one.
    """
    driver = ground.csi.driver
    driver.stop()
    driver.wrap = []
    driver.start()
    for number in range(mounted):
        ground.life(f"mounted-{number}").stage()
    driver.stop()
    crowd.fill(ground.where, volumes - mounted, SIZE)
    run("sync", "--file-system", ground.where)
    driver.wrap = list(SLAVE)
    driver.start()


def _table(counts: str, rows: list[Row]) -> Table:
    table = Table(title=f"{counts}, against an empty driver")
    for column in ("what", "empty", "full", "target", ""):
        table.add_column(column, justify="right" if column in {"empty", "full"} else "left")
    for row in rows:
        full = f"{row.full:.1f} {row.unit}"
        table.add_row(row.name, f"{row.empty:.1f}", full, row.target, "" if row.kept else "missed")
    return table


if __name__ == "__main__":
    sys.exit(main())
