"""A hundred claims and two hundred pods at once: no caller sees an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import storm
from tests.support.driver_process import DriverProcess

pytestmark = pytest.mark.slow


def test_no_call_of_a_storm_fails(tmp_path: Path) -> None:
    (tmp_path / "kubelet").mkdir()
    with DriverProcess(tmp_path, ["sim=memory:10TiB"]) as driver:
        *_, failed = storm.measured(driver.endpoint, tmp_path / "kubelet")
    assert (failed.value, failed.note) == (0, "")
