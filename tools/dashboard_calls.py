"""The panels of the dashboard about calls, and about the processes that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tools.grafana import NODE, POOL, RANGE, Panel

_ON_PROCESS: Final = f"* on (instance, job) group_left () cellar_build_info{{{NODE}}}"


def _quantiles(metric: str, by: str, legend: str) -> Mapping[str, str]:
    rate = f"sum by ({by}le) (rate({metric}_bucket{{{NODE}}}{RANGE}))"
    return {
        f"histogram_quantile({quantile}, {rate})": f"{legend}{percent} %"
        for quantile, percent in ((0.5, 50), (0.99, 99))
    }


CALLS: Final = (
    Panel(
        "Calls",
        "RPCs per second, by method.",
        "reqps",
        {f"sum by (method) (rate(cellar_rpc_seconds_count{{{NODE}}}{RANGE}))": "{{method}}"},
    ),
    Panel(
        "Calls that fail",
        "RPCs per second that ended with another code than OK, by method.",
        "reqps",
        {
            f'sum by (method, code) (rate(cellar_rpc_seconds_count{{{NODE},code!="OK"}}{RANGE}))': (
                "{{method}} {{code}}"
            )
        },
    ),
    Panel(
        "Duration of calls",
        "How long half of the calls of a method take at most, and how long 99 % of them.",
        "s",
        _quantiles("cellar_rpc_seconds", "method, ", "{{method}} "),
        warning=10,
    ),
    Panel(
        "Calls that wait",
        "Calls that wait for a worker of their pool.",
        "short",
        {f"cellar_queue_length{{{POOL}}}": "{{node}} {{pool}} {{class}}"},
    ),
    Panel(
        "Wait for a worker",
        "How long calls waited until a worker took them, by their class.",
        "s",
        _quantiles("cellar_queue_wait_seconds", "class, ", "{{class}} "),
    ),
    Panel(
        "Programs",
        "How long mkfs, fsck, lvm and other programs ran that calls wait for.",
        "s",
        _quantiles("cellar_command_seconds", "program, ", "{{program}} "),
    ),
    Panel(
        "Copies",
        "Copies of clones, restores and snapshots that go on in the background.",
        "short",
        {f"cellar_copies{{{NODE}}}": "{{node}}"},
    ),
    Panel(
        "Copied",
        "Bytes that copies in the background wrote per second, counted when a copy ends.",
        "Bps",
        {f"rate(cellar_copied_bytes_total{{{NODE}}}{RANGE})": "{{node}}"},
    ),
    Panel(
        "Bytes to be copied",
        "What the copies in the background have still to copy.",
        "bytes",
        {f"cellar_copies_remaining_bytes{{{NODE}}}": "{{node}}"},
    ),
    Panel(
        "Copies that ended",
        "Background copies that ended per second, by their result: ok or failed.",
        "ops",
        {
            f"sum by (result) (rate(cellar_copy_seconds_count{{{NODE}}}{RANGE}))": "{{result}}",
        },
    ),
    Panel(
        "Filesystems frozen",
        "How long filesystems were frozen for a snapshot: pods cannot write in that time.",
        "s",
        _quantiles("cellar_freeze_seconds", "", ""),
    ),
)

NODES: Final = (
    Panel(
        "Nodes",
        "1: the router reaches the node. 0: it does not, and creates and deletes nothing there.",
        "short",
        {"cellar_node_up": "{{exported_node}} from {{instance}}"},
    ),
    Panel(
        "Registered with kubelet",
        "1: kubelet has registered the driver. 0: no pod with its volumes starts or stops there.",
        "short",
        {f"cellar_kubelet_registered{{{NODE}}}": "{{node}}"},
    ),
    Panel(
        "Watches of the API server",
        "1: the router hears of changes. 0: it works with what it last knew.",
        "short",
        {"cellar_kubernetes_watch_up": "{{kind}} from {{instance}}"},
    ),
    Panel(
        "Orphan volumes",
        "Volumes that no PersistentVolume names; `kubectl cellar volumes --orphans` lists them.",
        "short",
        {"max by (exported_node, pool) (cellar_orphan_volumes)": "{{pool}} of {{exported_node}}"},
        warning=1,
    ),
    Panel(
        "State cannot be written",
        "1: the state directory of the node's driver is full, read-only or broken.",
        "short",
        {f"cellar_state_problem{{{NODE}}}": "{{node}}"},
        warning=1,
    ),
    Panel(
        "Certificates",
        "The time until a certificate ends.",
        "s",
        {
            "cellar_certificate_expiry_timestamp_seconds - time()": (
                "{{certificate}} of {{instance}}"
            )
        },
    ),
    Panel(
        "Memory",
        "The resident memory of the drivers and routers.",
        "bytes",
        {f"process_resident_memory_bytes {_ON_PROCESS}": "{{node}} {{instance}}"},
    ),
    Panel(
        "Processor time",
        "The processors that the drivers and routers use.",
        "percentunit",
        {f"rate(process_cpu_seconds_total{RANGE}) {_ON_PROCESS}": "{{node}} {{instance}}"},
    ),
    Panel(
        "File descriptors",
        "Files and sockets that the drivers and routers have open.",
        "short",
        {f"process_open_fds {_ON_PROCESS}": "{{node}} {{instance}}"},
    ),
    Panel(
        "Lag of the event loop",
        "How late the event loop is: a busy machine, or a fault of the driver.",
        "s",
        _quantiles("cellar_event_loop_lag_seconds", "", ""),
    ),
    Panel(
        "Leftovers removed",
        "Remains of interrupted calls that were removed per second.",
        "ops",
        {f"rate(cellar_leftovers_removed_total{{{NODE}}}{RANGE})": "{{node}}"},
    ),
    Panel(
        "Versions",
        "The version of each driver and router.",
        "short",
        {f"cellar_build_info{{{NODE}}}": ""},
        "table",
        16,
        columns=("node", "instance", "version"),
    ),
)
