"""Speed and memory that can be proved without a clock: what `cellar serve` imports.

The time to start and the resident memory follow from it; `make bench` measures both.
"""

from __future__ import annotations

import psutil

from tests.promises.conftest import Served
from tests.support.node import Node
from tests.support.waiting import wait_until

# Imported only where they are used: each would cost `serve` several MiB and tens of milliseconds.
NOT_NEEDED = {"rich", "typer", "click", "cryptography", "kubernetes", "hypothesis"}
BOUND = 64 << 20


def test_serve_imports_nothing_that_only_other_commands_need(node: Node) -> None:
    disk = node.disk("xfs")
    # The interpreter itself names every import, on stderr: that is the log.
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}
    csi = node.start(f"p=loopfile:{disk.where}", environment=environment)
    csi.delete(csi.create("v").volume_id)
    csi.driver.stop()
    imported = {
        line.rsplit("|", 1)[1].strip().partition(".")[0]
        for line in csi.driver.log.read_text().splitlines()
        if line.startswith("import time:")
    }
    assert {"driver", "grpc"} <= imported
    assert not imported & NOT_NEEDED


def test_idle_memory_stays_in_its_bounds_with_the_child_that_thaws(one: Served) -> None:
    process = psutil.Process(one.csi.driver.pid)

    def child() -> list[psutil.Process]:
        """Not a tool that ends at once."""
        return [one for one in process.children() if one.name() == "cellar-thaw"]

    everyone = [process, *wait_until(child)]
    assert sum(each.memory_full_info().pss for each in everyone) <= BOUND
