"""A Prometheus of Debian's package as a process, with the chart's alerts at another pace."""

from __future__ import annotations

import json
import math
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tools import prometheus
from tools.shell import ROOT

ALERTS: Final = ROOT / "charts/cellar/alerts.yaml"
FACTOR: Final = 200  # by which the alerts are faster than in a cluster
SHORTEST: Final = 6  # seconds of a window: enough samples for a rate, at one a second
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
START: Final = 60.0  # seconds until it and its targets answer: a busy machine


def scaled(rules: str) -> str:
    """Return the rules FACTOR times as fast, so that a test takes seconds.

    Each `for` and each window in brackets is divided by FACTOR, down to 1 s and SHORTEST. All else
    stays as it is: metrics, thresholds, the days that a prediction looks ahead.
    """
    parsed = yaml.safe_load(rules)
    for group in parsed["groups"]:
        for rule in group["rules"]:
            rule["for"] = f"{max(1, _seconds(rule['for']) // FACTOR)}s"
            rule["expr"] = re.sub(r"\[(\w+)\]", _scaled_window, rule["expr"])
    return yaml.safe_dump(parsed)


def _scaled_window(window: re.Match[str]) -> str:
    return f"[{max(SHORTEST, _seconds(window[1]) // FACTOR)}s]"


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


class Prometheus:
    """A server that scrapes each second. `targets`: the label `node` of each, by its port."""

    def __init__(self, where: Path, targets: Mapping[int, str]) -> None:
        self._where = where
        self._targets = targets
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.log = where / "prometheus.log"

    def __enter__(self) -> Self:
        config = self._configure()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(prometheus.server()),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={self._where / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._is_ready, START)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples that an expression has now, but for those that are no numbers."""
        query = urllib.parse.urlencode({"query": expression})
        found: list[dict[str, Any]] = self._get(f"api/v1/query?{query}")["result"]
        return [each for each in found if not math.isnan(float(each["value"][1]))]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing now."""
        found: list[dict[str, Any]] = self._get("api/v1/alerts")["alerts"]
        return found

    def active(self) -> set[str]:
        """Return the names of the alerts that are pending or firing now."""
        return {alert["labels"]["alertname"] for alert in self.alerts()}

    def firing(self) -> Mapping[str, list[str]]:
        """Return the texts of the alerts that fire now, by their names."""
        texts: dict[str, list[str]] = {}
        for alert in self.alerts():
            if alert["state"] == "firing":
                known = texts.setdefault(alert["labels"]["alertname"], [])
                known.extend(alert["annotations"].values())
        return texts

    def _configure(self) -> Path:
        """Write the files that it reads. Returns the path of its settings."""
        rules, config = self._where / "alerts.yaml", self._where / "prometheus.yaml"
        rules.write_text(scaled(ALERTS.read_text()))
        pace = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
        static = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"node": node}}
            for port, node in self._targets.items()
        ]
        jobs = [{"job_name": "cellar", "static_configs": static}]
        config.write_text(
            yaml.safe_dump({"global": pace, "rule_files": [str(rules)], "scrape_configs": jobs})
        )
        return config

    def _is_ready(self) -> bool:
        """Return whether each target was scraped, and the rules were evaluated."""
        assert self._process
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError):
            groups = self._get("api/v1/rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            evaluated = all(rule["health"] == "ok" for rule in rules)
            return evaluated and len(self.query("up == 1")) == len(self._targets)
        return False

    def _get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def _end(self) -> None:
        assert self._process
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
