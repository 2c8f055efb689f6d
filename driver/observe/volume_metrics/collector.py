"""The metrics of each volume, written as text, because a client library would be too slow for
10,000 volumes.

They are made in one pass over the volumes known in memory, the kernel's counters, and the usage of
mounted filesystems. No pool is read. Each metric is made by one comprehension over all volumes, and
a volume's labels are cached as long as the volume does not change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from driver.core.devices import Usage
from driver.core.model import Snapshot, Volume
from driver.core.ports.io_limits import NO_LIMITS
from driver.core.ports.pool import Pool
from driver.linux.meters.io_counters import IoCounters, io_counters
from driver.linux.meters.mount_usage import UsageReader
from driver.observe.volume_metrics.families import (
    IO,
    LIMITS,
    USAGE,
    USAGE_OF_INODES,
    Labels,
    Samples,
    volume_labels,
)
from driver.observe.volume_metrics.survey import VolumeSurvey
from driver.volumes.node.mount_records import MountRecords


class _Known(NamedTuple):
    """What the metrics of one volume are made of."""

    volume: Volume
    id: str
    labels: Labels
    staged: tuple[str, int] | None  # path, and number of the device


class VolumeMetrics:
    """Computes the metrics of the volumes of all pools on the node called `node`."""

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
        self._labels: Mapping[str, tuple[Volume, Labels]] = {}  # by the volume's id

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        samples = Samples()
        snapshots: Counter[str] = Counter()
        known = list(self._known(snapshots))
        self._labels = {each.id: (each.volume, each.labels) for each in known}
        self._add_sizes(samples, known, snapshots)
        _add_usages(samples, [(each.labels, usage) for each, usage in self._usages(known)])
        _add_io(samples, known)
        _add_limits(samples, known)
        self._add_faults(samples, known)
        return samples.text()

    def usages(self) -> Sequence[tuple[Volume, Usage]]:
        """Return the usage of each volume whose filesystem is mounted and answers in time."""
        return [(each.volume, usage) for each, usage in self._usages(self._known(Counter()))]

    def _known(self, snapshots: Counter[str]) -> Iterator[_Known]:
        """Yield all volumes; count the snapshots of each in `snapshots`."""
        staged, labels = self._records.staged(), self._labels
        for pool in self._pools:
            for image in pool.backend.known():
                if isinstance(image, Snapshot):
                    snapshots[str(image.source)] += 1
                elif isinstance(image, Volume):
                    volume_id = str(image.id)
                    kept = labels.get(volume_id)
                    yield _Known(
                        image,
                        volume_id,
                        kept[1]
                        if kept and kept[0] is image
                        else volume_labels(image, pool.name, self._node),
                        staged.get(volume_id),
                    )

    def _add_sizes(
        self, samples: Samples, known: Sequence[_Known], snapshots: Mapping[str, int]
    ) -> None:
        allocated = self._survey.allocated
        samples.add("cellar_volume_size_bytes", [(each.labels, each.volume.size) for each in known])
        samples.add(
            "cellar_volume_snapshots", [(each.labels, snapshots[each.id]) for each in known]
        )
        samples.add(
            "cellar_volume_allocated_bytes",
            [(each.labels, allocated[each.id]) for each in known if each.id in allocated],
        )

    def _usages(self, known: Iterable[_Known]) -> Sequence[tuple[_Known, Usage]]:
        """Return the usage of each volume whose filesystem is mounted, and answers."""
        mounted = {
            each.staged[0]: (each.staged[1], each)
            for each in known
            if each.staged and each.volume.fs
        }
        usages = self._usage.read({path: device for path, (device, _) in mounted.items()})
        return [(mounted[path][1], usage) for path, usage in usages.items()]

    def _add_faults(self, samples: Samples, known: Sequence[_Known]) -> None:
        faults = self._survey.faults
        samples.add(
            "cellar_volume_fault",
            [
                (f'{each.labels},fault="{kind}"', 1)
                for each in known
                if each.id in faults
                for kind in {fault.kind for fault in faults[each.id]}
            ],
        )


def _add_usages(samples: Samples, usages: Sequence[tuple[Labels, Usage]]) -> None:
    with_inodes = [(labels, usage) for labels, usage in usages if usage.inodes]
    for name, attribute in USAGE.items():
        samples.add_attribute(name, attribute, usages)
    for name, attribute in USAGE_OF_INODES.items():
        samples.add_attribute(name, attribute, with_inodes)


def _add_io(samples: Samples, known: Sequence[_Known]) -> None:
    counters: list[tuple[Labels, IoCounters]] = [
        (each.labels, io) for each in known if each.staged and (io := io_counters(each.staged[1]))
    ]
    for name, attribute in IO.items():
        samples.add_attribute(name, attribute, counters)


def _add_limits(samples: Samples, known: Sequence[_Known]) -> None:
    limited = [
        (each.labels, each.volume.limits) for each in known if each.volume.limits != NO_LIMITS
    ]
    samples.add(
        "cellar_volume_limit",
        [
            (f'{labels},direction="{direction}",unit="{unit}"', value)
            for labels, limits in limited
            for attribute, (direction, unit) in LIMITS.items()
            if (value := getattr(limits, attribute))
        ],
    )
