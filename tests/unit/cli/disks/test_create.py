"""`cellar pools create`, on simulated devices."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.disks.conftest import run


def test_without_a_terminal_and_without_yes_nothing_is_done(machine: list[Any]) -> None:
    status, output = run("create", "fast", "--disk", "/dev/nvme0n1")
    assert status == 1
    assert "nothing was done" in output
    assert not machine


def test_the_plan_is_shown_with_what_will_be_written_and_how_long_reading_takes() -> None:
    _, output = run("create", "fast", "--disk", "/dev/nvme0n1", "--rate", "500MiB")
    for text in ("Fast 9000", "900 GiB", "xfs", "cellar-fast", "at least 31 min"):
        assert text in output


def test_the_pool_is_made_and_how_it_is_used_is_printed(machine: list[Any]) -> None:
    status, output = run("create", "fast", "--disk", "/dev/nvme0n1", "--yes")
    assert status == 0
    [plan] = machine
    assert plan.location == "/var/lib/cellar/pools/fast"
    where = "/var/lib/cellar/pools/fast"
    assert f"--pool fast=loopfile:{where},disk=LABEL=cellar-fast" in output
    assert f"{{name: fast, type: loopfile, where: {where}, disk: LABEL=cellar-fast}}" in output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("fast", "--disk", "/dev/sda"), "nothing was written to it"),
        (("fast", "--disk", "/dev/none"), "no block device"),
        (("fast", "--disk", "/dev/nvme0n1", "--rate", "0"), "--rate"),
        (("fast", "--disk", "/dev/nvme0n1", "--stripes", "2"), "options of --type lvm"),
        (("fast", "--disk", "/dev/nvme0n1", "--type", "lvm", "--mirrors", "1"), "need 2 disks"),
        (("fa/st", "--disk", "/dev/nvme0n1"), "is not NAME=TYPE"),
        (("fast", "--disk", "/dev/nvme0n1", "--where", "srv"), "not an absolute path"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    words: tuple[str, ...], reason: str, machine: list[Any]
) -> None:
    status, output = run("create", *words, "--yes")
    assert status == 1
    assert reason in output
    assert "Traceback" not in output
    assert not machine
