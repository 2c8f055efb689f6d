"""What the number of volumes and mounts costs one node.

An empty driver and one that has many volumes, some of them mounted, answer the same calls by turns.
The mounts are slaves of another namespace, for which the kernel takes longest to list them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from driver.core.model import GIB
from tests.bench import crowd
from tests.bench.scale_rows import SIZE, Row, ServedPool, compared, growing
from tests.support.disks import run
from tests.support.node import Node
from tests.support.ports import free_port

SETTINGS = "allocation=sparse,overcommit=1000"
DISK = 100 * GIB  # sparse: what is written to it is what it costs
SLAVE = ("unshare", "--mount", "--propagation", "slave")
Curves = dict[str, list[tuple[int, float]]]


def measured(count: int, mounted: int, rounds: int) -> tuple[list[Row], Curves]:
    """The rows of a driver with `count` volumes, of which `mounted` are mounted, against an empty
    one; and what grows from few volumes to many.
    """
    console, rows = Console(stderr=True), []
    with served_pool(wrapper=SLAVE) as empty, served_pool(wrapper=SLAVE) as full:
        curves = _grown(full, count - mounted)
        _mount(full, mounted)
        for row in compared(empty, full, rounds):
            rows.append(row)
            console.print(f"[dim]{row.name}: {row.full:.1f} {row.unit}[/dim]")
    return rows, curves


@contextmanager
def served_pool(wrapper: Sequence[str] = ()) -> Iterator[ServedPool]:
    """A node whose directory is a mount of its own; what is mounted below reaches namespaces that
    are made after it. `wrapper`: the command that starts the driver.
    """
    with tempfile.TemporaryDirectory(prefix="cellar-bench-") as base:
        run("mount", "--bind", base, base)
        run("mount", "--make-shared", base)
        node = Node(Path(base))
        try:
            disk = node.disk("xfs", DISK)
            pool = f"p=loopfile:{disk.where},{SETTINGS}"
            port = free_port()
            metrics = ("--metrics", f"127.0.0.1:{port}")
            csi = node.start(pool, options=metrics, wrapper=wrapper)
            yield ServedPool(node, disk.where, csi, port)
        finally:
            node.close()
            run("umount", "--recursive", base)


def _grown(served: ServedPool, count: int) -> Curves:
    """Fill the pool with `count` volumes in steps, each ten times the one before."""
    curves: Curves = {}
    steps = [step for step in (10, 100, 1_000) if step < count] + [count]
    there = 0
    for step in steps:
        served.csi.driver.stop()
        crowd.fill(served.directory, range(there, step), SIZE)
        run("sync", "--file-system", served.directory)
        served.csi.driver.start()
        there = step
        for label, value in growing(served):
            curves.setdefault(label, []).append((step, value))
    return curves


def _mount(served: ServedPool, mounted: int) -> None:
    """Mount volumes in the outer namespace, and start the driver anew in a namespace that is a
    slave of the outer one.
    """
    driver = served.csi.driver
    driver.stop()
    driver.wrap = []
    driver.start()
    for number in range(mounted):
        served.life(f"mounted-{number}").stage()
    driver.stop()
    driver.wrap = list(SLAVE)
    driver.start()
