"""The demo as somebody without root sees it, from the outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


def demo(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "driver", "demo", "--simulate"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_the_simulated_demo_makes_all_calls_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    result = demo(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SIMULATED" in result.stdout
    calls = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("   →")]
    life = ["CreateVolume", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume"]
    end = ["NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume", "DeleteVolume"]
    assert [call for call in calls if call in life][:5] == ["CreateVolume", *life]
    assert calls[-5:] == [*end, "DeleteSnapshot"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_driver_that_dies_ends_the_demo_with_status_1(tmp_path: Path) -> None:
    result = demo(tmp_path, CELLAR_FAILPOINT="stage.mounted")
    assert result.returncode == 1
    assert "the demo ends here" in result.stdout
    assert "NOT TRUE: the driver ended with exit status 0" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_driver_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    result = demo(tmp_path, CELLAR_LOG_LEVEL="loud")
    assert result.returncode == 1
    assert "ended by itself, with status 2" in result.stdout
    assert "log-level" in result.stdout
    assert list(tmp_path.iterdir()) == []
