"""The metric of IO limits: one for each limit that is set, of the volumes that have any."""

from __future__ import annotations

from pathlib import Path

from driver.core.model import Limits, Volume
from driver.observe.metrics import Metrics
from driver.observe.volume_limits import add_limits
from tests.unit.volumes.world import World


def _lines(metrics: Metrics) -> list[str]:
    lines = metrics.text().decode().splitlines()
    return [line for line in lines if line.startswith("cellar_volume_limit{")]


def test_each_limit_that_is_set_is_shown(tmp_path: Path) -> None:
    world = World(tmp_path)
    metrics = Metrics("1", [])
    volumes: list[Volume] = []
    add_limits(metrics, lambda: volumes)
    assert _lines(metrics) == []
    volume = world.create(limits=Limits(read_iops=100, write_bps=4096))
    volumes.append(volume)
    labels = f'volume="{volume.id}"'
    assert _lines(metrics) == [
        f'cellar_volume_limit{{direction="read",unit="operations",{labels}}} 100.0',
        f'cellar_volume_limit{{direction="write",unit="bytes",{labels}}} 4096.0',
    ]
