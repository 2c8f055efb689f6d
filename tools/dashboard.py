"""The Grafana dashboard of the chart, made of plain data: `python -m tools.dashboard` writes it.

A panel is an entry of a table, here or in dashboard_calls.py: its title, what it means, its unit,
and its queries. Each has all of them, and each query asks only for metrics that the driver exports;
tests check both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from tools.dashboard_calls import CALLS, NODES
from tools.grafana import CLAIM, NODE, POOL, RANGE, Json, Panel, panels, variables
from tools.shell import ROOT

FILE: Final = ROOT / "charts/cellar/dashboard.json"
UID: Final = "cellar"  # of the dashboard in Grafana: links to it stay


def _stat(
    title: str, description: str, unit: str, expression: str, warning: float | None = None
) -> Panel:
    return Panel(title, description, unit, {expression: ""}, "stat", 4, 4, warning)


def _of_device(kind: str) -> str:
    """Return an expression of how long the reads or writes of a volume's device take."""
    number, seconds = {"read": "reads", "write": "writes"}[kind], f"{kind}_seconds"
    return (
        f"rate(cellar_volume_{seconds}_total{{{CLAIM}}}{RANGE})"
        f" / (rate(cellar_volume_{number}_total{{{CLAIM}}}{RANGE}) > 0)"
    )


OVERVIEW: Final = (
    _stat(
        "Firing alerts",
        "Alerts of Cellar that fire now. docs/runbooks.md has a section for each.",
        "short",
        'count(ALERTS{alertname=~"Cellar.*",alertstate="firing"}) or vector(0)',
        1,
    ),
    _stat(
        "Nodes not reached",
        "Nodes of the cluster that a router cannot reach: the most that any router sees.",
        "short",
        "max(count by (instance) (cellar_node_up) - sum by (instance) (cellar_node_up))",
        1,
    ),
    _stat(
        "Pools that cannot be used",
        "Pools that are unavailable, read-only, failed or silent.",
        "short",
        f"count(cellar_pool_up{{{NODE}}}) - sum(cellar_pool_up{{{NODE}}})",
        1,
    ),
    _stat(
        "Volumes with a fault",
        "Volumes with at least one fault; the table below names them.",
        "short",
        f"count(count by (volume) (cellar_volume_fault{{{NODE}}})) or vector(0)",
        1,
    ),
    _stat("Volumes", "Volumes in all pools.", "short", f"sum(cellar_pool_volumes{{{NODE}}})"),
    _stat("Snapshots", "Snapshots in all pools.", "short", f"sum(cellar_pool_snapshots{{{NODE}}})"),
    Panel(
        "Space promised, by node",
        "The share of what the pools of a node can commit that is committed to volumes.",
        "percentunit",
        {
            f"sum by (node) (cellar_pool_committed_bytes{{{NODE}}})"
            f" / (sum by (node) (cellar_pool_total_bytes{{{NODE}}}) > 0)": "{{node}}"
        },
        warning=0.9,
    ),
    Panel(
        "Calls that fail",
        "RPCs per second that ended with another code than OK. ABORTED and NOT_FOUND are a part of"
        " CSI; INTERNAL, UNAVAILABLE and DATA_LOSS are not.",
        "reqps",
        {
            f'sum by (code) (rate(cellar_rpc_seconds_count{{{NODE},code!="OK"}}{RANGE}))': (
                "{{code}}"
            )
        },
    ),
    Panel(
        "Faults of volumes",
        "Each fault that a volume has now, up to a minute old. `cellar describe` says more.",
        "short",
        {f"cellar_volume_fault{{{NODE}}}": ""},
        "table",
        columns=("namespace", "persistentvolumeclaim", "fault", "pool", "node"),
    ),
)

POOLS: Final = (
    Panel(
        "Promised",
        "The share of what each pool can commit that is committed to volumes.",
        "percentunit",
        {
            f"cellar_pool_committed_bytes{{{POOL}}} / (cellar_pool_total_bytes > 0)": (
                "{{node}} {{pool}}"
            )
        },
        "bargauge",
        warning=0.9,
    ),
    Panel(
        "Space",
        "What the pool can commit, what is committed, and the largest volume that it accepts.",
        "bytes",
        {
            f"cellar_pool_total_bytes{{{POOL}}}": "{{node}} {{pool}} total",
            f"cellar_pool_committed_bytes{{{POOL}}}": "{{node}} {{pool}} promised",
            f"cellar_pool_largest_bytes{{{POOL}}}": "{{node}} {{pool}} largest volume",
        },
    ),
    Panel(
        "Promised in three days",
        "The share that will be promised in three days at the rate of the last six hours."
        " CellarPoolFillsUp fires at 100 %.",
        "percentunit",
        {
            f"predict_linear(cellar_pool_committed_bytes{{{POOL}}}[6h], 3 * 86400)"
            " / (cellar_pool_total_bytes > 0)": "{{node}} {{pool}}"
        },
        warning=1,
    ),
    Panel(
        "Can be used",
        "1: the pool can be used. 0: it is unavailable, read-only, failed, or does not answer.",
        "short",
        {f"cellar_pool_up{{{POOL}}}": "{{node}} {{pool}}"},
    ),
    Panel(
        "Volumes and snapshots",
        "How many of both are in the pool, and how many records in it cannot be read.",
        "short",
        {
            f"cellar_pool_volumes{{{POOL}}}": "{{node}} {{pool}} volumes",
            f"cellar_pool_snapshots{{{POOL}}}": "{{node}} {{pool}} snapshots",
            f"cellar_pool_damaged_images{{{POOL}}}": "{{node}} {{pool}} damaged",
        },
    ),
    Panel(
        "Oldest call",
        "How long the oldest call at work in the pool has been so: a disk that hangs shows here.",
        "s",
        {f"cellar_pool_oldest_call_seconds{{{POOL}}}": "{{node}} {{pool}}"},
        warning=60,
    ),
    Panel(
        "Stuck calls",
        "Calls that have been at work in the pool for over ten seconds.",
        "short",
        {f"cellar_pool_stuck_workers{{{POOL}}}": "{{node}} {{pool}}"},
        warning=1,
    ),
    Panel(
        "Being freed",
        "Bytes of deleted volumes and snapshots that are not free yet.",
        "bytes",
        {f"cellar_pool_freeing_bytes{{{POOL}}}": "{{node}} {{pool}}"},
    ),
    Panel(
        "LVM: data and metadata used",
        "The used share of a volume group or thin pool, and of its metadata. Loop files have none.",
        "percentunit",
        {
            f"cellar_pool_data_used_ratio{{{POOL}}}": "{{node}} {{pool}} data",
            f"cellar_pool_metadata_used_ratio{{{POOL}}}": "{{node}} {{pool}} metadata",
        },
        warning=0.8,
    ),
)

VOLUME: Final = (
    Panel(
        "Size",
        "The volume's size, what it occupies in its pool (shared bytes included), and what is used"
        " in its filesystem while it is mounted.",
        "bytes",
        {
            f"cellar_volume_size_bytes{{{CLAIM}}}": "{{namespace}}/{{persistentvolumeclaim}} size",
            f"cellar_volume_allocated_bytes{{{CLAIM}}}": (
                "{{namespace}}/{{persistentvolumeclaim}} in the pool"
            ),
            f"cellar_volume_used_bytes{{{CLAIM}}}": (
                "{{namespace}}/{{persistentvolumeclaim}} in the filesystem"
            ),
        },
    ),
    Panel(
        "Filesystem: space used",
        "The share of the filesystem that a pod cannot write to any more, while it is mounted.",
        "percentunit",
        {
            f"1 - cellar_volume_available_bytes{{{CLAIM}}}"
            " / (cellar_volume_filesystem_size_bytes > 0)": (
                "{{namespace}}/{{persistentvolumeclaim}}"
            )
        },
        warning=0.95,
    ),
    Panel(
        "Filesystem: inodes used",
        "The used share of its inodes. btrfs has no fixed number of them, so it shows none.",
        "percentunit",
        {
            f"cellar_volume_inodes_used{{{CLAIM}}} / (cellar_volume_inodes > 0)": (
                "{{namespace}}/{{persistentvolumeclaim}}"
            )
        },
        warning=0.95,
    ),
    Panel(
        "Operations",
        "Reads and writes of the volume's device per second.",
        "iops",
        {
            f"rate(cellar_volume_reads_total{{{CLAIM}}}{RANGE})": (
                "{{persistentvolumeclaim}} reads"
            ),
            f"rate(cellar_volume_writes_total{{{CLAIM}}}{RANGE})": (
                "{{persistentvolumeclaim}} writes"
            ),
        },
    ),
    Panel(
        "Throughput",
        "Bytes read from and written to the volume's device per second.",
        "Bps",
        {
            f"rate(cellar_volume_read_bytes_total{{{CLAIM}}}{RANGE})": (
                "{{persistentvolumeclaim}} read"
            ),
            f"rate(cellar_volume_written_bytes_total{{{CLAIM}}}{RANGE})": (
                "{{persistentvolumeclaim}} written"
            ),
        },
    ),
    Panel(
        "Latency",
        "How long a read and a write of its device take on average, where there are any.",
        "s",
        {
            _of_device("read"): "{{persistentvolumeclaim}} read",
            _of_device("write"): "{{persistentvolumeclaim}} write",
        },
    ),
    Panel(
        "Busy",
        "The share of the time in which the device had a request. 100 % does not mean that it can"
        " do no more: requests overlap.",
        "percentunit",
        {f"rate(cellar_volume_io_seconds_total{{{CLAIM}}}{RANGE})": "{{persistentvolumeclaim}}"},
    ),
    Panel(
        "In flight, snapshots",
        "Requests of the device that have not ended, and how many snapshots the volume has.",
        "short",
        {
            f"cellar_volume_io_in_flight{{{CLAIM}}}": "{{persistentvolumeclaim}} in flight",
            f"cellar_volume_snapshots{{{CLAIM}}}": "{{persistentvolumeclaim}} snapshots",
        },
    ),
    Panel(
        "IO limits",
        "The limits that are set for the volume, per second, in operations or bytes.",
        "short",
        {f"cellar_volume_limit{{{CLAIM}}}": "{{persistentvolumeclaim}} {{direction}} {{unit}}"},
    ),
)

ROWS: Final[Mapping[str, tuple[Panel, ...]]] = {
    "Overview": OVERVIEW,
    "Pools": POOLS,
    "One volume": VOLUME,
    "Calls": CALLS,
    "Nodes": NODES,
}
VARIABLES: Final[Mapping[str, tuple[str, str]]] = {  # label, and the query of its values
    "node": ("Node", "label_values(cellar_build_info, node)"),
    "pool": ("Pool", f"label_values(cellar_pool_up{{{NODE}}}, pool)"),
    "namespace": ("Namespace", "label_values(cellar_volume_size_bytes, namespace)"),
    "claim": (
        "Claim",
        'label_values(cellar_volume_size_bytes{namespace=~"$namespace"}, persistentvolumeclaim)',
    ),
}


def dashboard() -> Json:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": UID,
        "title": "Cellar",
        "description": "Pools, volumes, calls and nodes of the CSI driver Cellar.",
        "tags": ["cellar", "storage"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(variables(VARIABLES))},
        "panels": list(panels(ROWS)),
    }


def text() -> str:
    """Return the file of the dashboard."""
    return json.dumps(dashboard(), indent=1) + "\n"


def write() -> None:
    """Write the dashboard into the chart."""
    FILE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    write()
