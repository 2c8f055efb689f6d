"""What promtool says of the driver's metrics."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.observe.exposition import everything
from tools import prometheus

pytestmark = pytest.mark.chart


def test_promtool_has_nothing_to_say_against_the_metrics() -> None:
    argv = [str(prometheus.promtool()), "check", "metrics"]
    done = subprocess.run(argv, input=everything(), check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
