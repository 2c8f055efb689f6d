"""What is wrong with a driver, as the rules of the alerts name it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver.cli.page import conditions as page
from driver.core.devices import Usage
from driver.core.faults import Fault, FaultKind
from driver.core.ids import PoolId, VolumeId
from driver.core.model import Allocation, FsType, Volume
from driver.observe import conditions
from driver.observe.conditions import Conditions
from driver.observe.metrics import Metrics

VOLUME = Volume(
    id=VolumeId(PoolId("0123456789ab"), "0" * 32),
    name="pvc-1",
    size=1000,
    fs=FsType.EXT4,
    allocation=Allocation.THICK,
    block_size=4096,
    incarnation="1",
)
# Alerts that need what only Prometheus has: the past, or a place outside of the driver.
OTHERS = {"CellarPoolFillsUp", "CellarCopiesFail", "CellarFilesystemFrozen", "CellarDriverDown"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1", [])


def met(metrics: Metrics, **sources: Any) -> list[tuple[str, str]]:
    return [(each.alert, each.text) for each in Conditions(metrics, **sources).read()]


def test_a_driver_in_order_has_none(metrics: Metrics) -> None:
    metrics.add_gauge("cellar_kubelet_registered", "", lambda: 1)
    metrics.add_gauge("cellar_state_problem", "", lambda: 0)
    metrics.add_gauges("cellar_kubernetes_watch_up", "", "kind", lambda: {"nodes": 1})
    metrics.add_gauges(
        "cellar_certificate_expiry_timestamp_seconds",
        "",
        "certificate",
        lambda: {"tls": time.time() + 30 * 86400},
    )
    metrics.add_gauges("cellar_pool_stuck_workers", "", "pool", lambda: {"fast": 0})
    usage = Usage(total=100, used=50, available=50, inodes=0, inodes_used=0, inodes_free=0)
    assert met(metrics, usages=lambda: [(VOLUME, usage)]) == []


def test_each_gauge_that_is_wrong_is_said(metrics: Metrics) -> None:
    metrics.add_gauge("cellar_kubelet_registered", "", lambda: 0)
    metrics.add_gauge("cellar_state_problem", "", lambda: 1)
    metrics.add_gauges("cellar_kubernetes_watch_up", "", "kind", lambda: {"nodes": 0, "pods": 1})
    metrics.add_gauges(
        "cellar_certificate_expiry_timestamp_seconds",
        "",
        "certificate",
        lambda: {"tls": time.time() + 86400},
    )
    metrics.add_gauges("cellar_pool_stuck_workers", "", "pool", lambda: {"fast": 2, "slow": 1})
    oldest = {"fast": 61.0, "slow": 30.0}
    metrics.add_gauges("cellar_pool_oldest_call_seconds", "", "pool", lambda: oldest)
    orphans: dict[tuple[str, ...], float] = {("a", "fast"): 3.0, ("a", "slow"): 0.0}
    metrics.add_gauges_by("cellar_orphan_volumes", "", ("node", "pool"), lambda: orphans)
    assert [alert for alert, _ in met(metrics)] == [
        "CellarNotRegistered",
        "CellarStateNotWritten",
        "CellarWatchInterrupted",
        "CellarCertificateExpires",
        "CellarPoolDoesNotAnswer",
        "CellarOrphanVolumes",
    ]
    texts = [text for _, text in met(metrics)]
    assert "changes of nodes" in texts[2]
    assert texts[3] == "The certificate tls ends in 1.0 days"
    assert texts[4] == "2 calls hang in pool fast, the oldest for 61 s"


@pytest.mark.parametrize(
    ("kind", "alert"),
    [
        (FaultKind.FILESYSTEM_ERRORS, "CellarFilesystemErrors"),
        (FaultKind.REMOUNTED_READ_ONLY, "CellarVolumeReadOnly"),
        (FaultKind.FILESYSTEM_SHUT_DOWN, "CellarVolumeReadOnly"),
        (FaultKind.BACKING_FILE_GONE, "CellarVolumeUnhealthy"),
    ],
)
def test_a_fault_of_a_volume_has_the_alert_of_its_kind(
    metrics: Metrics, kind: FaultKind, alert: str
) -> None:
    faults = {"v1": (Fault(kind, "it is broken"), Fault(FaultKind.POOL_AWAY, "gone"))}
    [condition] = Conditions(metrics, lambda: faults).read()
    assert (condition.alert, condition.text, condition.volume_id) == (alert, "it is broken", "v1")


def test_a_full_volume_is_said(metrics: Metrics) -> None:
    usage = Usage(
        total=100 << 20, used=96 << 20, available=4 << 20, inodes=0, inodes_used=0, inodes_free=0
    )
    [condition] = Conditions(metrics, usages=lambda: [(VOLUME, usage)]).read()
    assert condition.alert == "CellarVolumeNearlyFull"
    assert condition.text == "4 MiB of 100 MiB are left"
    assert condition.volume_id == str(VOLUME.id)


def test_volumes_are_not_looked_at_whenever_somebody_asks(metrics: Metrics) -> None:
    looks, now = [], [0.0]

    def look() -> dict[str, Any]:
        looks.append(1)
        return {}

    known = Conditions(metrics, look, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, 9.9, 10.0):
        known.read()
    assert len(looks) == 2


def test_a_thousand_broken_volumes_are_a_hundred_conditions(metrics: Metrics) -> None:
    faults = {f"v{number}": (Fault(FaultKind.FILESYSTEM_ERRORS, ""),) for number in range(1000)}
    assert len(Conditions(metrics, lambda: faults).read()) == conditions.MOST


def test_every_alert_of_the_chart_is_a_condition_that_the_page_shows() -> None:
    rules = yaml.safe_load(Path("charts/cellar/alerts.yaml").read_text(encoding="utf-8"))
    severities = {
        rule["alert"]: rule["labels"]["severity"]
        for group in rules["groups"]
        for rule in group["rules"]
    }
    here = {alert: severity for alert, severity, *_ in conditions._GAUGES.values()}
    here |= {alert: severity for alert, severity, _ in conditions._FAULTS}
    assert {**here, **conditions.SEVERITIES, **page.SEVERITIES} == {
        alert: severity for alert, severity in severities.items() if alert not in OTHERS
    }
