"""The points at which a test may kill the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from driver.core.failpoints import ENCRYPTED, LVM, POINTS, FailPoint

PROGRAM = """
from driver.core.failpoints import FailPoint, reach
for number in range(1, 5):
    reach(FailPoint.DELETE_SYNCED)
    reach(FailPoint.CREATE_RENAMED)
    print(number, flush=True)
"""


def reached(point: str) -> tuple[str, int]:
    """Return what the program printed, and its exit status, with CELLAR_FAILPOINT set."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "CELLAR_FAILPOINT": point},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.replace("\n", ""), done.returncode


@pytest.mark.parametrize(
    ("point", "printed", "killed"),
    [
        ("create.renamed", "", True),
        ("create.renamed:3", "12", True),
        ("create.renamed:5", "1234", False),
        ("create.rename", "1234", False),
        ("", "1234", False),
    ],
)
def test_a_process_is_killed_when_it_reaches_the_point_for_the_nth_time(
    point: str, printed: str, *, killed: bool
) -> None:
    assert reached(point) == (printed, -signal.SIGKILL if killed else 0)


def test_each_point_is_of_one_list_so_that_one_tier_tests_it() -> None:
    assert sorted([*POINTS, *ENCRYPTED, *LVM]) == sorted(FailPoint)
