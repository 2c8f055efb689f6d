"""The metrics of volumes: what they show, their form, and what ten thousand cost."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from driver.core.devices import Device, Usage
from driver.core.faults import Fault, FaultKind
from driver.core.ids import VolumeId
from driver.core.model import GIB, Image, Inline, Limits, ObjectNames
from driver.core.ports.memory_records import MemoryRecords
from driver.core.ports.pool import Pool
from driver.linux.meters import io_counters
from driver.linux.meters.mount_usage import UsageReader
from driver.observe.volume_metrics import collector
from driver.observe.volume_metrics.collector import VolumeMetrics
from driver.observe.volume_metrics.survey import VolumeSurvey
from driver.volumes.node.mount_records import MountRecords, mount_record
from tests.support.failing_backend import failing_pool
from tests.unit.backends.lvm.test_tags import SNAPSHOT, VOLUME
from tests.unit.linux.meters.test_io_counters import COUNTERS

NAMED = replace(VOLUME, objects=ObjectNames("shop", "data"))
USAGE = Usage(total=100, used=10, available=80, inodes=5, inodes_used=1, inodes_free=4)
DEVICE = Device(Path("/dev/loop7"), os.makedev(7, 7), read_only=False)
STAGING = Path("/staging")
MANY: Final = 10_000


class MeteredNode:
    """A node with some volumes in memory."""

    def __init__(self, images: list[Image]) -> None:
        pool = failing_pool("fast", GIB)
        pool = Pool("fast", _Known(images), pool.host)  # type: ignore[arg-type] # only known()
        self.records = MountRecords(MemoryRecords())
        self.survey = VolumeSurvey([pool], self.records)
        usage = UsageReader(lambda _path, _device: USAGE)
        self.metrics = VolumeMetrics([pool], self.records, self.survey, "n-1", usage)

    def stage(self, volume_id: VolumeId, staging: Path = STAGING) -> None:
        for path in (staging, staging / "target"):
            self.records.write(
                mount_record(path, volume_id, DEVICE, node=False, read_only=False, staging=staging)
            )

    def samples(self) -> Mapping[str, float]:
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(self.metrics.text().decode())
            for sample in family.samples
        }


class _Known:
    def __init__(self, images: list[Image]) -> None:
        self._images = images

    def known(self) -> list[Image]:
        return self._images


@pytest.fixture(autouse=True)
def counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        collector, "io_counters", lambda device: COUNTERS if device == DEVICE.number else None
    )


def test_a_volume_at_rest_has_its_size_and_no_more_than_is_known() -> None:
    node = MeteredNode([NAMED, SNAPSHOT])
    assert node.samples() == {"cellar_volume_size_bytes": NAMED.size, "cellar_volume_snapshots": 1}
    node.survey.allocated = {str(NAMED.id): 4096}
    assert node.samples()["cellar_volume_allocated_bytes"] == 4096


def test_a_volume_in_use_has_its_usage_and_what_its_device_has_done() -> None:
    node = MeteredNode([NAMED])
    node.stage(NAMED.id)
    samples = node.samples()
    assert samples["cellar_volume_filesystem_size_bytes"] == 100
    assert samples["cellar_volume_used_bytes"] == 10
    assert samples["cellar_volume_available_bytes"] == 80
    assert (samples["cellar_volume_inodes"], samples["cellar_volume_inodes_used"]) == (5, 1)
    assert samples["cellar_volume_reads_total"] == 100
    assert samples["cellar_volume_written_bytes_total"] == 2 << 20
    assert samples["cellar_volume_write_seconds_total"] == 2.5
    assert samples["cellar_volume_io_in_flight"] == 4


def test_a_raw_block_volume_has_no_filesystem() -> None:
    raw = replace(NAMED, fs=None)
    node = MeteredNode([raw])
    node.stage(raw.id)
    samples = node.samples()
    assert "cellar_volume_used_bytes" not in samples
    assert samples["cellar_volume_reads_total"] == 100


def test_each_kind_of_fault_is_a_series() -> None:
    node = MeteredNode([NAMED])
    twice = (Fault(FaultKind.FILESYSTEM_ERRORS, "a"), Fault(FaultKind.FILESYSTEM_ERRORS, "b"))
    node.survey.faults = {str(NAMED.id): (*twice, Fault(FaultKind.DEVICE_ALTERED, "c"))}
    text = node.metrics.text().decode()
    faults = [line for line in text.splitlines() if line.startswith("cellar_volume_fault{")]
    assert len(faults) == 2
    assert any(',fault="FilesystemErrors"} 1' in line for line in faults)


def test_each_limit_that_is_set_is_a_series_with_the_labels_of_its_volume() -> None:
    limited = replace(NAMED, limits=Limits(read_iops=100, write_bps=4096))
    text = MeteredNode([limited, SNAPSHOT]).metrics.text().decode()
    [family] = [
        family
        for family in text_string_to_metric_families(text)
        if family.name == "cellar_volume_limit"
    ]
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({**labels(limited), "direction": "read", "unit": "operations"}, 100),
        ({**labels(limited), "direction": "write", "unit": "bytes"}, 4096),
    ]


def test_a_volume_that_changed_is_not_shown_as_it_was() -> None:
    images: list[Image] = [NAMED]
    node = MeteredNode(images)
    assert b'persistentvolumeclaim="data"' in node.metrics.text()
    images[:] = [replace(NAMED, objects=ObjectNames("shop", "renamed"))]
    text = node.metrics.text()
    assert b'persistentvolumeclaim="renamed"' in text
    assert b'persistentvolumeclaim="data"' not in text


def test_the_labels_say_whose_volume_it_is() -> None:
    named, pod = labels(NAMED), labels(replace(NAMED, inline=Inline.MOUNTED))
    assert named == {
        "volume": str(NAMED.id),
        "pool": "fast",
        "persistentvolume": NAMED.name,
        "persistentvolumeclaim": "data",
        "namespace": "shop",
        "node": "n-1",
    }
    assert (pod["persistentvolume"], pod["persistentvolumeclaim"]) == ("", "")
    assert labels(VOLUME)["persistentvolume"] == ""


def labels(image: Image) -> Mapping[str, str]:
    family = next(
        iter(text_string_to_metric_families(MeteredNode([image]).metrics.text().decode()))
    )
    return family.samples[0].labels


def test_ten_thousand_staged_volumes_are_told_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "io_counters", io_counters.io_counters)
    volumes = [
        replace(NAMED, id=VolumeId("0123456789ab", f"{number:032x}")) for number in range(MANY)
    ]
    node = MeteredNode([*volumes])
    node.survey.allocated = {str(volume.id): 4096 for volume in volumes}
    for volume in volumes:
        node.stage(volume.id, STAGING / volume.id.key)
    begun = time.process_time()
    text = node.metrics.text()
    assert time.process_time() - begun < 1.0
    assert text.count(b"\ncellar_volume_size_bytes{") == MANY
    assert text.count(b"\ncellar_volume_used_bytes{") == MANY
