"""The metrics of each volume, as text: ten thousand volumes have no time for objects.

One pass over what is known in memory, the kernel's counters, and the usage of what is mounted. No
pool is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from driver.core.devices import Usage
from driver.core.model import Snapshot, Volume
from driver.core.ports.pool import Pool
from driver.linux.meters.io_counters import IoCounters, io_counters
from driver.linux.meters.mount_usage import UsageReader
from driver.observe.volume_metrics.families import FAMILIES, exposition, labels_of
from driver.observe.volume_metrics.survey import VolumeSurvey
from driver.volumes.node.mount_records import MountRecords


class _Known(NamedTuple):
    """What the metrics of one volume are made of. `labels` lack the closing brace."""

    volume: Volume
    id: str
    labels: str
    staged: tuple[str, int] | None  # path, and number of the device


class VolumeMetrics:
    """The metrics of the volumes of all pools on the node called `node`."""

    def __init__(
        self,
        pools: Sequence[Pool],
        records: MountRecords,
        survey: VolumeSurvey,
        node: str,
        usage: UsageReader | None = None,
    ) -> None:
        self._pools = pools
        self._records = records
        self._survey = survey
        self._node = node
        self._usage = usage or UsageReader()

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        lines: dict[str, list[str]] = {name: [] for name in FAMILIES}
        snapshots: Counter[str] = Counter()
        known = list(self._known(snapshots))
        usages = self._usage.read(
            {
                path: device
                for each in known
                if each.volume.fs and each.staged
                for path, device in (each.staged,)
            }
        )
        survey = self._survey
        for each in known:
            _add_size(lines, each, survey.allocated.get(each.id), snapshots[each.id])
            if each.staged:
                path, device = each.staged
                _add_usage(lines, each.labels, usages.get(path))
                _add_io(lines, each.labels, io_counters(device))
            for kind in {fault.kind for fault in survey.faults.get(each.id, ())}:
                lines["cellar_volume_fault"].append(f'{each.labels},fault="{kind}"}} 1\n')
        return exposition(lines)

    def _known(self, snapshots: Counter[str]) -> Iterator[_Known]:
        """Yield all volumes; count the snapshots of each in `snapshots`."""
        staged = self._records.staged()
        for pool in self._pools:
            for image in pool.backend.known():
                if isinstance(image, Snapshot):
                    snapshots[str(image.source)] += 1
                elif isinstance(image, Volume):
                    volume_id = str(image.id)
                    labels = labels_of(image, pool.name, self._node)
                    yield _Known(image, volume_id, labels, staged.get(volume_id))


def _add_size(
    lines: Mapping[str, list[str]], known: _Known, allocated: int | None, snapshots: int
) -> None:
    lines["cellar_volume_size_bytes"].append(f"{known.labels}}} {known.volume.size}\n")
    lines["cellar_volume_snapshots"].append(f"{known.labels}}} {snapshots}\n")
    if allocated is not None:
        lines["cellar_volume_allocated_bytes"].append(f"{known.labels}}} {allocated}\n")


def _add_usage(lines: Mapping[str, list[str]], labels: str, usage: Usage | None) -> None:
    if usage is None:
        return
    values = {
        "cellar_volume_filesystem_size_bytes": usage.total,
        "cellar_volume_used_bytes": usage.used,
        "cellar_volume_available_bytes": usage.available,
    }
    if usage.inodes:
        values |= {
            "cellar_volume_inodes": usage.inodes,
            "cellar_volume_inodes_used": usage.inodes_used,
        }
    for name, value in values.items():
        lines[name].append(f"{labels}}} {value}\n")


def _add_io(lines: Mapping[str, list[str]], labels: str, io: IoCounters | None) -> None:
    if io is None:
        return
    values = {
        "cellar_volume_reads_total": io.reads,
        "cellar_volume_read_bytes_total": io.read_bytes,
        "cellar_volume_read_seconds_total": io.read_seconds,
        "cellar_volume_writes_total": io.writes,
        "cellar_volume_written_bytes_total": io.written_bytes,
        "cellar_volume_write_seconds_total": io.write_seconds,
        "cellar_volume_io_in_flight": io.in_flight,
        "cellar_volume_io_seconds_total": io.busy,
    }
    for name, value in values.items():
        lines[name].append(f"{labels}}} {value}\n")
