"""All metrics of a driver as text, with a sample of each that can have one."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from driver.core.faults import Fault, FaultKind
from driver.core.model import GIB, Limits
from driver.core.ports.measures import MEASURES, Measure
from driver.observe import process_metrics
from driver.observe.metrics import Metrics
from driver.volumes.copies.background import BackgroundCopies
from tests.support.failing_backend import failing_pool
from tests.unit.observe.volume_metrics.test_collector import NAMED, MeteredNode

# Of routers, of kubelet, and of options that the node of `everything` has not.
OTHER_METRICS: Final = frozenset(
    {
        "cellar_claimed_disks",
        "cellar_kubelet_registered",
        "cellar_kubernetes_watch_up",
        "cellar_node_up",
        "cellar_orphan_volumes",
        "cellar_orphan_volumes_bytes",
        "cellar_pool_oldest_call_seconds",
        "cellar_pool_stuck_workers",
        "cellar_pool_trimmed_bytes",
        "cellar_state_problem",
    }
)


def everything() -> str:
    """Return the metrics of a node with a volume in use."""
    metrics = Metrics("1.2.3", [failing_pool("fast", GIB)])
    metrics.on_finish("CreateVolume", "OK", 0.1)
    for measure in Measure:
        MEASURES.observe(measure, 0.1, "some")
    process_metrics.add_copies(metrics, BackgroundCopies(lambda _: ThreadPoolExecutor()))
    process_metrics.add_queues(metrics, lambda: {("fast", "pod"): 1})
    process_metrics.add_expiries(metrics, dict)
    node = MeteredNode([replace(NAMED, limits=Limits(read_iops=100))])
    node.stage(NAMED.id)
    node.survey.allocated = {str(NAMED.id): 1}
    node.survey.faults = {str(NAMED.id): (Fault(FaultKind.DEVICE_ALTERED, "x"),)}
    metrics.add_text(node.metrics.text)
    return metrics.text().decode()


def metric_names() -> frozenset[str]:
    """Return the names of all metrics that drivers and routers export."""
    return frozenset(re.findall(r"^# TYPE (\w+)", everything(), re.MULTILINE)) | OTHER_METRICS


def names_in(expression: str) -> frozenset[str]:
    """Return the metrics of the driver that an expression of PromQL asks for."""
    names = re.findall(r"\b(?:cellar|process)_\w+", expression)
    return frozenset(re.sub(r"_(bucket|count|sum)$", "", name) for name in names)
