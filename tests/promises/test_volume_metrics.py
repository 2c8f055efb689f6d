"""The metrics of volumes in use: what the kernel says of their devices and filesystems."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import Csi
from tests.support.disks import MIB
from tests.support.node import Life, Node
from tests.support.ports import free_port
from tests.support.waiting import wait_until

NAMES = {"pvc/name": "data", "pvc/namespace": "shop", "pv/name": "v"}
PARAMETERS = {f"csi.storage.k8s.io/{key}": name for key, name in NAMES.items()}


class Watched:
    """A driver with a page of metrics."""

    def __init__(self, node: Node) -> None:
        self.port = free_port()
        pool = f"p=loopfile:{node.disk('xfs', 2048 * MIB).where},allocation=sparse"
        self.csi: Csi = node.start(pool, options=["--metrics", f"127.0.0.1:{self.port}"])

    def samples(self) -> Mapping[str, float]:
        """The metrics of the one volume."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as page:
            families = text_string_to_metric_families(page.read().decode())
        return {
            sample.name: sample.value
            for family in families
            for sample in family.samples
            if sample.labels.get("persistentvolumeclaim") == "data"
        }


@pytest.fixture
def watched(node: Node) -> Watched:
    return Watched(node)


def up(watched: Watched, node: Node, fs: str) -> Life:
    size = 400 * MIB
    volume_id = watched.csi.create("v", size, fs=fs, parameters=PARAMETERS).volume_id
    life = node.life(watched.csi, volume_id, fs=fs)
    life.up()
    return life


@pytest.mark.parametrize("fs", ["ext4", "xfs", "btrfs"])
def test_usage_and_io_are_those_of_the_mounted_volume(
    watched: Watched, node: Node, fs: str
) -> None:
    life = up(watched, node, fs)
    before = watched.samples()
    usage = os.statvfs(life.target)
    assert before["cellar_volume_filesystem_size_bytes"] == usage.f_blocks * usage.f_frsize
    assert before["cellar_volume_available_bytes"] == usage.f_bavail * usage.f_frsize
    life.write(size=32 * MIB)
    after = watched.samples()
    written = "cellar_volume_written_bytes_total"
    assert after[written] - before[written] >= 32 * MIB
    assert after["cellar_volume_used_bytes"] - before["cellar_volume_used_bytes"] >= 31 * MIB
    life.unpublish()
    life.unstage()
    at_rest = watched.samples()
    assert at_rest.keys() & {written, "cellar_volume_used_bytes"} == set()
    assert at_rest["cellar_volume_size_bytes"] == 400 * MIB
    watched.csi.delete(life.volume_id)
    assert watched.samples() == {}


def test_what_a_volume_occupies_is_known_in_a_while(watched: Watched, node: Node) -> None:
    life = up(watched, node, "ext4")
    life.write(size=64 * MIB)
    name = "cellar_volume_allocated_bytes"
    wait_until(lambda: watched.samples().get(name, 0) >= 64 * MIB, 45)
    assert watched.samples()[name] < 400 * MIB
    life.down()


def test_a_frozen_volume_does_not_keep_the_metrics_waiting(watched: Watched, node: Node) -> None:
    life = up(watched, node, "ext4")
    node.freeze(Path(life.target))
    assert watched.samples()["cellar_volume_size_bytes"] == 400 * MIB
    node.thaw(Path(life.target))
    life.down()
