"""The names, types and help texts of the metrics of volumes, and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from driver.core.model import Volume
from driver.volumes.pools.call_facts import persistent_of

FAMILIES: Final = {  # type and help text by name
    "cellar_volume_size_bytes": ("gauge", "Size of the volume"),
    "cellar_volume_allocated_bytes": ("gauge", "Bytes that it occupies in its pool"),
    "cellar_volume_snapshots": ("gauge", "Snapshots of it"),
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


def labels_of(volume: Volume, pool: str, node: str) -> str:
    """Return the labels of a volume without the closing brace, so that more can follow."""
    inline = bool(volume.inline)
    return (
        f'{{volume="{volume.id}",pool="{_escape(pool)}"'
        f',persistentvolume="{_escape(persistent_of(volume))}"'
        f',persistentvolumeclaim="{"" if inline else _escape(volume.objects.claim)}"'
        f',namespace="{_escape(volume.objects.namespace)}",node="{_escape(node)}"'
    )


def exposition(lines: Mapping[str, list[str]]) -> bytes:
    """Return the metrics in Prometheus' text format. `lines`: labels and value of each sample, by
    the name of the metric.
    """
    text = []
    for name, (kind, help_text) in FAMILIES.items():
        text.append(f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n")
        text.extend(name + line for line in lines[name])
    return "".join(text).encode()


def _escape(text: str) -> str:
    """Return a label's value as the text format has it."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text
