"""Each alert fires when its condition holds for long enough, resolves, and has a runbook."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from driver.core.faults import FaultKind
from tests.unit.observe.exposition import metric_names, names_in
from tools import prometheus
from tools.shell import ROOT

ALERTS: Final = ROOT / "charts/cellar/alerts.yaml"
RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
}
POOL: Final = 'pool="fast",type="loopfile",node="n-1"'
VOLUME: Final = 'volume="v",persistentvolumeclaim="data",namespace="shop",node="n-1"'


class Case(NamedTuple):
    """Series by their values, one a minute; the minutes at which it fires, and has resolved."""

    series: Mapping[str, str]
    fires: int
    resolved: int


def fault(kind: FaultKind, minutes: int = 10) -> Case:
    """A fault that is there for some minutes, and then no longer."""
    series = f'cellar_volume_fault{{{VOLUME},fault="{kind}"}}'
    return Case({series: f"1x{minutes} _x40"}, minutes - 1, minutes + 10)


def pool(name: str, values: str, fires: int, resolved: int) -> Case:
    return Case({f"cellar_pool_{name}{{{POOL}}}": values}, fires, resolved)


CASES: Final[Mapping[str, Case]] = {
    "CellarPoolUnavailable": pool("up", "0x5 1x10", 3, 8),
    "CellarPoolDoesNotAnswer": Case(
        {
            f"cellar_pool_stuck_workers{{{POOL}}}": "2x5 0x10",
            f"cellar_pool_oldest_call_seconds{{{POOL}}}": "90x5 0x10",
        },
        3,
        8,
    ),
    "CellarPoolNearlyFull": Case(
        {
            f"cellar_pool_committed_bytes{{{POOL}}}": "95x20 50x20",
            f"cellar_pool_total_bytes{{{POOL}}}": "100x60",
        },
        18,
        25,
    ),
    "CellarPoolFillsUp": Case(
        {
            f"cellar_pool_committed_bytes{{{POOL}}}": "6000+1x500 100x200",
            f"cellar_pool_total_bytes{{{POOL}}}": "10000x800",
        },
        480,
        520,
    ),
    "CellarPoolDataNearlyFull": pool("data_used_ratio", "0.95x10 0.5x10", 7, 14),
    "CellarVolumeUnhealthy": fault(FaultKind.BACKING_FILE_SHORT),
    "CellarFilesystemErrors": fault(FaultKind.FILESYSTEM_ERRORS),
    "CellarVolumeReadOnly": fault(FaultKind.REMOUNTED_READ_ONLY),
    "CellarVolumeNearlyFull": Case(
        {
            f"cellar_volume_available_bytes{{{VOLUME}}}": "3x20 50x20",
            f"cellar_volume_filesystem_size_bytes{{{VOLUME}}}": "100x60",
        },
        18,
        25,
    ),
    "CellarDirectIoLost": pool("direct_io", "0x20 1x20", 18, 25),
    "CellarFilesystemFrozen": Case(
        {
            'cellar_freeze_seconds_bucket{le="2.5",node="n-1"}': "0x60",
            'cellar_freeze_seconds_count{node="n-1"}': "0x5 1x60",
        },
        10,
        50,
    ),
    "CellarDriverDown": Case(
        {
            'up{job="c",instance="a",node="n-1"}': "1x5 0x10 1x20",
            'cellar_build_info{job="c",instance="a",node="n-1"}': "1x5 _x10 1x20",
            'up{job="other",instance="b"}': "0x40",
        },
        12,
        20,
    ),
    "CellarNodeUnavailable": Case({'cellar_node_up{node="n-1",instance="r"}': "0x8 1x20"}, 7, 12),
    "CellarRouterWithoutNodes": Case(
        {
            'cellar_node_up{node="n-1",instance="r"}': "0x8 1x20",
            'cellar_node_up{node="n-2",instance="r"}': "0x30",
        },
        7,
        12,
    ),
    "CellarNotRegistered": Case({"cellar_kubelet_registered": "0x8 1x20"}, 7, 12),
    "CellarWatchInterrupted": Case(
        {'cellar_kubernetes_watch_up{kind="nodes",instance="r"}': "0x15 1x20"}, 13, 20
    ),
    "CellarCertificateExpires": Case(
        {'cellar_certificate_expiry_timestamp_seconds{certificate="tls"}': "500000x70 90000000x30"},
        65,
        80,
    ),
    "CellarCallsFail": Case(
        {
            'cellar_rpc_seconds_count{method="CreateVolume",code="OK"}': "0+2x100",
            'cellar_rpc_seconds_count{method="CreateVolume",code="INTERNAL"}': "0+1x40 40x60",
        },
        35,
        60,
    ),
    "CellarCallsSlow": Case(
        {
            'cellar_rpc_seconds_bucket{method="CreateVolume",le="10"}': "0x40 0+1x60",
            'cellar_rpc_seconds_bucket{method="CreateVolume",le="30"}': "0+1x40 40+1x60",
            'cellar_rpc_seconds_bucket{method="CreateVolume",le="+Inf"}': "0+1x40 40+1x60",
        },
        35,
        70,
    ),
    "CellarCopyStuck": Case(
        {"cellar_copies": "1x60 0x20", "cellar_copies_remaining_bytes": "4096x60 0x20"}, 50, 65
    ),
    "CellarCopiesFail": Case(
        {'cellar_copy_seconds_count{result="failed",node="n-1"}': "0x5 1x100"}, 10, 80
    ),
    "CellarOrphanVolumes": Case(
        {'cellar_orphan_volumes{node="n-1",pool="fast",instance="r"}': "2x70 0x20"}, 65, 75
    ),
    "CellarStateNotWritten": Case({"cellar_state_problem": "1x8 0x20"}, 7, 12),
}


def test_every_alert_has_a_test_and_a_runbook_and_only_those() -> None:
    runbooks = (ROOT / "docs/runbooks.md").read_text()
    sections = re.findall(r"^## (Cellar\w+)$", runbooks, re.MULTILINE)
    assert sections == list(RULES)
    assert list(CASES) == list(RULES)


def test_every_alert_asks_for_metrics_that_there_are() -> None:
    known = metric_names()
    for alert, rule in RULES.items():
        assert names_in(rule["expr"]) <= known, alert


@pytest.mark.chart
@pytest.mark.parametrize("alert", RULES)
def test_an_alert_fires_and_resolves(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    expected = {0: [], case.fires: [{"labels": "{}", "value": 1}], case.resolved: []}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in case.series.items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": f"{minute}m", "exp_samples": samples}
            for minute, samples in expected.items()
        ],
    }
    file = tmp_path / "test.yaml"
    rules = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(rules))
    argv = [str(prometheus.promtool()), "test", "rules", str(file)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
