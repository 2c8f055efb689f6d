"""Each alert fires in a real Prometheus while its cause is there, and resolves when it is mended.

The rules are the chart's, FACTOR times as fast; see `scaled`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.alerts.prometheus_server import ALERTS, Prometheus, scaled
from tests.alerts.troubles import NOT_CAUSED, TROUBLES, Scene
from tests.support.node import Node
from tests.support.waiting import wait_until

FIRES = 150.0  # seconds: a disk has to hang for a minute, and volumes are looked at twice a minute
RESOLVES = 90.0
# What a text looks like if a label is missing that it names.
INCOMPLETE = re.compile(r"<|  |\s/|/\s|^\s|\s$")


def names() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_every_alert_is_caused_or_has_a_reason_not_to_be() -> None:
    caused = [alert for alerts in TROUBLES.values() for alert in alerts]
    assert sorted([*caused, *NOT_CAUSED]) == sorted(names())


def test_only_spans_are_scaled() -> None:
    rule = {
        "alert": "A",
        "for": "1h",
        "expr": "predict_linear(m[6h], 3 * 86400) > 60 and r[1m] > 0",
    }
    told = yaml.safe_load(scaled(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]})))
    [faster] = told["groups"][0]["rules"]
    assert faster["for"] == "18s"
    assert faster["expr"] == "predict_linear(m[108s], 3 * 86400) > 60 and r[6s] > 0"


@pytest.mark.parametrize("scene", TROUBLES, ids=lambda scene: scene.__name__)
def test_an_alert_fires_while_its_cause_is_there(scene: Scene, node: Node, tmp_path: Path) -> None:
    alerts, texts = TROUBLES[scene], dict[str, list[str]]()
    with scene(node) as trouble, Prometheus(tmp_path, trouble.targets) as prometheus:
        assert not alerts & prometheus.active()
        trouble.cause()

        def all_fired() -> bool:
            texts.update(prometheus.firing())
            return alerts <= texts.keys()

        wait_until(all_fired, FIRES)
        trouble.mend()
        wait_until(lambda: not alerts & prometheus.active(), RESOLVES)
    assert not [text for alert in alerts for text in texts[alert] if INCOMPLETE.search(text)]
