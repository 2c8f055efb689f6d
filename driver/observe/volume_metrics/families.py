"""The names, types and help texts of the metrics of volumes, and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeAlias

from driver.core.model import Volume
from driver.volumes.pools.call_facts import persistent_name

Labels: TypeAlias = str  # without the closing brace, so that more can follow

FAMILIES: Final = {  # type and help text by name
    "cellar_volume_size_bytes": ("gauge", "Size of the volume"),
    "cellar_volume_allocated_bytes": ("gauge", "Bytes that it occupies in its pool"),
    "cellar_volume_snapshots": ("gauge", "Snapshots of it"),
    "cellar_volume_limit": ("gauge", "IO limit that is set for it, per second"),
    "cellar_volume_fault": ("gauge", "1 for each kind of fault that it has"),
    "cellar_volume_filesystem_size_bytes": ("gauge", "Size of its mounted filesystem"),
    "cellar_volume_used_bytes": ("gauge", "Bytes used in its mounted filesystem"),
    "cellar_volume_available_bytes": ("gauge", "Bytes available in it to a pod"),
    "cellar_volume_inodes": ("gauge", "Inodes of its mounted filesystem"),
    "cellar_volume_inodes_used": ("gauge", "Inodes used in it"),
    "cellar_volume_reads_total": ("counter", "Reads of its device that have ended"),
    "cellar_volume_read_bytes_total": ("counter", "Bytes read from its device"),
    "cellar_volume_read_seconds_total": ("counter", "Time of all reads, which overlap"),
    "cellar_volume_writes_total": ("counter", "Writes to its device that have ended"),
    "cellar_volume_written_bytes_total": ("counter", "Bytes written to its device"),
    "cellar_volume_write_seconds_total": ("counter", "Time of all writes, which overlap"),
    "cellar_volume_io_in_flight": ("gauge", "Reads and writes that have not ended"),
    "cellar_volume_io_seconds_total": ("counter", "Time in which its device was busy"),
}

# Which attribute of Usage, IoCounters or Limits a metric, or the labels of one, shows.
USAGE: Final = {
    "cellar_volume_filesystem_size_bytes": "total",
    "cellar_volume_used_bytes": "used",
    "cellar_volume_available_bytes": "available",
}
USAGE_OF_INODES: Final = {
    "cellar_volume_inodes": "inodes",
    "cellar_volume_inodes_used": "inodes_used",
}
IO: Final = {
    "cellar_volume_reads_total": "reads",
    "cellar_volume_read_bytes_total": "read_bytes",
    "cellar_volume_read_seconds_total": "read_seconds",
    "cellar_volume_writes_total": "writes",
    "cellar_volume_written_bytes_total": "written_bytes",
    "cellar_volume_write_seconds_total": "write_seconds",
    "cellar_volume_io_in_flight": "in_flight",
    "cellar_volume_io_seconds_total": "busy",
}
LIMITS: Final = {  # direction and unit
    "read_iops": ("read", "operations"),
    "write_iops": ("write", "operations"),
    "read_bps": ("read", "bytes"),
    "write_bps": ("write", "bytes"),
}


class Samples:
    """Collects samples of metrics, and writes all metrics in Prometheus' text format."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {name: [] for name in FAMILIES}

    def add(self, name: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """Add samples of the metric `name`."""
        self._lines[name] += [f"{name}{labels}}} {value}\n" for labels, value in samples]

    def add_attribute(
        self, name: str, attribute: str, samples: Sequence[tuple[Labels, Any]]
    ) -> None:
        """Add samples of the metric `name`. `samples`: labels and objects; `attribute`: the
        objects' attribute with the value.
        """
        value = attrgetter(attribute)
        self._lines[name] += [f"{name}{labels}}} {value(item)}\n" for labels, item in samples]

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, with their types and help texts."""
        text: list[str] = []
        for name, (kind, help_text) in FAMILIES.items():
            text.append(f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n")
            text += self._lines[name]
        return "".join(text).encode()


def volume_labels(volume: Volume, pool: str, node: str) -> Labels:
    """Return the labels that all metrics of a volume have: its id, pool, node and claim."""
    inline = bool(volume.inline)
    return (
        f'{{volume="{volume.id}",pool="{_escape(pool)}"'
        f',persistentvolume="{_escape(persistent_name(volume))}"'
        f',persistentvolumeclaim="{"" if inline else _escape(volume.objects.claim)}"'
        f',namespace="{_escape(volume.objects.namespace)}",node="{_escape(node)}"'
    )


def _escape(text: str) -> str:
    """Return a label's value as the text format has it."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text
