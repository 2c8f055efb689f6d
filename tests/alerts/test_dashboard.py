"""Every query of every panel of the dashboard has data in a real Prometheus, after a short load."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.alerts.disk_troubles import HangingCopy
from tests.alerts.prometheus_server import Prometheus
from tests.alerts.trouble import claim, life, serve
from tests.cluster.fake_kubelet import Kubelet
from tests.cluster.kube_machines import kubernetes
from tests.support.client import Csi, outcome
from tests.support.disks import MIB, Disk, run
from tests.support.node import Life, Node, image_of
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.unit.observe.exposition import names_in
from tools import dashboard

LVM: Final = "of logical volumes, which need device-mapper; tests/lvm reads what it is made of"
# Metrics that have no data here, and why.
WITHOUT_DATA: Final[Mapping[str, str]] = {
    "cellar_pool_data_used_ratio": LVM,
    "cellar_pool_metadata_used_ratio": LVM,
    "cellar_volume_limit": "needs control groups of version 2: tests/lvm/test_io_limits.py",
}
SURVEYED: Final = 60.0  # seconds: volumes are looked at twice a minute


def expressions() -> list[str]:
    """Return all queries, with all nodes, pools and claims, and a range of five minutes."""
    queries = [
        expression
        for panels in dashboard.ROWS.values()
        for panel in panels
        for expression in panel.queries
    ]
    plain = [query.replace("$__rate_interval", "5m") for query in queries]
    return [re.sub(r'"\$\w+"', '".*"', query) for query in plain]


def use(node: Node, csi: Csi, name: str) -> Life:
    """Make a volume, mount it, write, read, and take a snapshot of it; and a call that fails."""
    volume = life(node, csi, name, 96 * MIB, parameters={"pool": "fast"})
    volume.write(size=16 * MIB)
    csi.snapshot(f"s-{name}", volume.volume_id)
    outcome(lambda: csi.expand(volume.volume_id, 1 << 50))
    return volume


def read(volume: Life) -> None:
    """Read from the volume's device, and write to it."""
    run("dd", f"if={volume.target}/data", "of=/dev/null", "bs=1M", "iflag=direct")
    volume.write("more", 4 * MIB)


def clone(node: Node, csi: Csi, disk: Disk) -> None:
    """Make a clone that is copied for more than a second."""
    source = life(node, csi, "source", 320 * MIB, parameters={"pool": "bulk"})
    source.write(size=256 * MIB)
    source.down()
    copy = HangingCopy(node, csi, disk, source.volume_id)
    copy.begin()
    time.sleep(2)
    copy.end()


def test_every_query_of_every_panel_has_data(node: Node, tmp_path: Path) -> None:
    fast, bulk = node.disk("xfs", 1024 * MIB), node.disk("ext4", 1024 * MIB)
    pools = (f"fast=loopfile:{fast.where},allocation=sparse", f"bulk=loopfile:{bulk.where}")
    kubelet, port, where = Kubelet(node.kubelet), free_port(), node.base / "k"
    where.mkdir()
    with kubernetes(where) as world:
        world.router("--metrics", f"127.0.0.1:{port}", "--orphans-after", "2s")
        world.node("a")
        csi, own = serve(node, *pools, options=("--kubelet-dir", str(node.kubelet)))
        wait_until(lambda: kubelet.made() != 0)
        kubelet.register()
        short = image_of(fast, claim(csi, "short", parameters={"pool": "fast"}), 64 * MIB)
        os.truncate(short, MIB)
        with Prometheus(tmp_path, {own: "n1", port: "n2"}) as prometheus:
            volumes = [use(node, csi, "first")]
            clone(node, csi, bulk)
            volumes.append(use(node, csi, "second"))
            read(volumes[0])
            wait_until(lambda: prometheus.query("cellar_volume_fault"), SURVEYED)
            wait_until(lambda: len(prometheus.query("cellar_volume_allocated_bytes")) > 2, SURVEYED)
            time.sleep(2)  # two more scrapes
            asked = {query: prometheus.query(query) for query in expressions()}
        for volume in volumes:
            volume.down()
    empty = [query for query, samples in asked.items() if not samples]
    assert [query for query in empty if not names_in(query) & WITHOUT_DATA.keys()] == []
    assert len(empty) == len(WITHOUT_DATA), "has data by now: take it out of the table"
