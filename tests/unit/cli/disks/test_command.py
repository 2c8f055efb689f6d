"""`cellar disks` and `cellar pools create`, on simulated devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from driver.cli.disks import command, create
from driver.core.errors import NotFound, Refused
from driver.core.model import GIB
from driver.disks import creation, examination
from driver.disks.examination import Examination
from driver.linux.disks import block_devices
from driver.linux.disks.block_device import BlockDevice, Kind

NVME = BlockDevice(
    name="nvme0n1",
    number=259,
    kind=Kind.DISK,
    size=900 * GIB,
    model="Fast 9000",
    serial="S1",
    transport="nvme",
    links=(Path("/dev/disk/by-id/nvme-Fast_9000_S1"),),
)
SDA = BlockDevice(name="sda", number=8, kind=Kind.DISK, size=GIB, rotational=True)

app = typer.Typer()
app.command("disks")(command.command)
app.command("create")(create.create_pool)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A machine with a blank disk and one that is mounted; returns the plans that were carried out."""
    listed = (
        Examination(NVME, "zeros", ""),
        Examination(SDA, "ext4, mounted at /", "it is mounted at /"),
    )
    made: list[Any] = []

    def read_device(path: Path) -> BlockDevice:
        for device in (NVME, SDA):
            if path in (device.path, *device.links):
                return device
        raise NotFound(f"{path} is no block device of this machine")

    def make(plan: Any, on_progress: Any) -> dict[str, str]:
        if SDA in plan.devices:
            raise Refused("/dev/sda: it is mounted at /; nothing was written to it")
        on_progress(plan.devices[0], GIB)
        made.append(plan)
        from driver.disks.plan import settings  # noqa: PLC0415

        return settings(plan, "A" * 32)

    monkeypatch.setattr(examination, "examine_all", lambda: listed)
    monkeypatch.setattr(block_devices, "read_device", read_device)
    monkeypatch.setattr(creation, "create", make)
    return made


def run(*words: str, given: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words), input=given)
    return result.exit_code, result.output


def test_the_table_says_which_disk_may_become_a_pool_and_why_the_other_may_not() -> None:
    status, output = run("disks")
    head, first, second = output.splitlines()
    assert status == 0
    assert head.split()[:4] == ["NAME", "SIZE", "MODEL", "TRANSPORT"]
    assert first.split()[0] == "nvme0n1"
    assert " yes " in first
    assert "900 GiB" in first
    assert " no " in second
    assert second.endswith("it is mounted at /")


def test_the_wide_table_has_the_path_that_lasts_the_serial_and_the_medium() -> None:
    _, output = run("disks", "-o", "wide")
    assert "/dev/disk/by-id/nvme-Fast_9000_S1" in output
    assert "S1" in output
    assert "rotating" in output


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_programs_get_all_of_it(output: str) -> None:
    _, text = run("disks", "-o", output)
    first, second = json.loads(text) if output == "json" else yaml.safe_load(text)
    assert first["may_become_pool"] is True
    assert first["size_bytes"] == 900 * GIB
    assert first["by_id"] == ["/dev/disk/by-id/nvme-Fast_9000_S1"]
    assert second["reason"] == "it is mounted at /"
    assert second["rotational"] is True


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
