"""A simulated machine with two disks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
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
