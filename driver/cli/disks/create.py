"""`cellar pools create`: creates a pool on blank disks, after printing what it will do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from driver.cli.connection import fail
from driver.cli.output import console, human
from driver.core.errors import CellarError, Invalid
from driver.core.model import FsType
from driver.core.quantity import parse_bytes
from driver.disks.pool_kind import POOLS, PoolKind

if TYPE_CHECKING:
    from driver.disks.plan import PoolPlan
    from driver.linux.disks.block_device import BlockDevice

_RATE: Final = "1GiB"

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the new pool.")]
Disk = Annotated[
    list[Path],
    typer.Option(
        "--disk", metavar="PATH", help="A whole disk, best as /dev/disk/by-id/... Repeatable."
    ),
]
Kind = Annotated[PoolKind, typer.Option("--type", help="The type of the pool.")]
Filesystem = Annotated[FsType, typer.Option(help="For loop files: the filesystem of the disk.")]
Location = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="WHERE",
        help="For loop files the directory where the driver mounts the disk, by default"
        f" {POOLS}/NAME; for LVM the volume group, by default cellar-NAME.",
    ),
]
Stripes = Annotated[int, typer.Option(min=1, max=99, help="For LVM: stripes of each volume.")]
Mirrors = Annotated[int, typer.Option(min=0, max=99, help="For LVM: further copies of each.")]
Removable = Annotated[bool, typer.Option("--removable", help="Accept a removable disk.")]
Owner = Annotated[
    str,
    typer.Option(
        "--driver-name", envvar="CELLAR_DRIVER_NAME", help="The driver whose pool it will be."
    ),
]
Rate = Annotated[
    str, typer.Option(metavar="SIZE", help="Read at most this much of each disk in a second.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def create_pool(  # noqa: PLR0913 - one for each option
    *,
    name: Name,
    disk: Disk,
    kind: Kind = PoolKind.LOOPFILE,
    filesystem: Filesystem = FsType.XFS,
    location: Location = "",
    stripes: Stripes = 1,
    mirrors: Mirrors = 0,
    removable: Removable = False,
    driver_name: Owner = "cellar.csi.internal",
    rate: Rate = _RATE,
    yes: Yes = False,
) -> None:
    """Make a pool of blank disks: a filesystem or a volume group, marked as a pool of this driver.

    A disk that has anything on it is refused, and nothing is written to it: partitions, a known
    signature, a backup of one, or any byte that is no zero. To find that out, each disk is read
    completely before.
    """
    from driver.disks.plan import PoolPlan  # noqa: PLC0415 - not for --help
    from driver.linux.disks.block_devices import read_device  # noqa: PLC0415

    try:
        plan = PoolPlan(
            name=name,
            kind=kind,
            devices=tuple(read_device(path) for path in disk),
            location=location or _default_location(name, kind),
            owner=driver_name,
            rate=_read_rate(rate),
            fs=filesystem,
            stripes=stripes,
            mirrors=mirrors,
            removable=removable,
        )
        _carry_out(plan, ask=not yes)
    except (CellarError, OSError) as error:
        fail(str(error))


def _carry_out(plan: PoolPlan, *, ask: bool) -> None:
    """Print the plan, ask, make the pool, and print how it is used. Raises: CellarError, OSError,
    typer.Abort.
    """
    _check(plan)
    _print_plan(plan)
    if ask:
        _ask()
    _print_result(plan, _create(plan))


def _default_location(name: str, kind: PoolKind) -> str:
    return str(POOLS / name) if kind is PoolKind.LOOPFILE else f"cellar-{name}"


def _read_rate(text: str) -> int:
    """Return the rate in bytes a second. Raises: Invalid."""
    if not (rate := parse_bytes(text)):
        raise Invalid("--rate: it must be above 0")
    return rate


def _check(plan: PoolPlan) -> None:
    """Check the plan, and that `serve` will accept the result. Raises: Invalid."""
    from driver.app.pool_spec import parse_pool  # noqa: PLC0415 - not for --help
    from driver.app.pools import find_pool_type  # noqa: PLC0415 - the backends
    from driver.disks.plan import as_flag, check, settings  # noqa: PLC0415

    check(plan)
    try:
        spec = parse_pool(as_flag(settings(plan, "")))
    except ValueError as error:
        raise Invalid(str(error)) from None
    options = {key: value for key, value in spec.options.items() if value}
    find_pool_type(spec).read(type(spec)(spec.name, spec.type, spec.location, options))


def _print_plan(plan: PoolPlan) -> None:
    """Print the disks and what will be done with them, and how long the reading will take."""
    from rich.table import Table  # noqa: PLC0415 - it takes a while

    from driver.disks.plan import steps  # noqa: PLC0415

    table = Table("disk", "size", "model", "serial", "path", title=f"new pool {plan.name}")
    for device in plan.devices:
        row = (device.name, human(device.size), device.model or "-", device.serial or "-")
        table.add_row(*row, str(device.best_path))
    to = console()
    to.print(table)
    for number, step in enumerate(steps(plan), 1):
        to.print(f"{number}. {step}", soft_wrap=True)
    seconds = max(device.size for device in plan.devices) / plan.rate
    to.print(f"Reading takes at least {_span(seconds)}; a disk may be slower.", soft_wrap=True)


def _span(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _ask() -> None:
    """Ask whether to go on. Raises: Invalid, if there is nobody to answer; typer.Abort."""
    if not sys.stdin.isatty():
        raise Invalid("nothing was done: there is no terminal to ask at, and --yes is not given")
    typer.confirm("All that is on these disks will be overwritten. Continue?", abort=True)


def _create(plan: PoolPlan) -> dict[str, str]:
    """Make the pool, with the progress on a terminal. Raises: CellarError, OSError."""
    from rich.progress import Progress, TaskID  # noqa: PLC0415 - it takes a while

    from driver.disks.creation import create  # noqa: PLC0415 - the backends

    with Progress(console=console(stderr=True), transient=True) as progress:
        tasks: dict[int, TaskID] = {
            device.number: progress.add_task(f"reading {device.name}", total=device.size)
            for device in plan.devices
        }

        def on_progress(device: BlockDevice, done: int) -> None:
            progress.update(tasks[device.number], completed=done)

        return create(plan, on_progress)


def _print_result(plan: PoolPlan, entry: dict[str, str]) -> None:
    """Print how the new pool is configured."""
    from driver.disks.plan import as_flag  # noqa: PLC0415

    to = console()
    to.print(f"pool {plan.name} is made. For `cellar serve`:", soft_wrap=True)
    to.print(f"  --pool {as_flag(entry)}", soft_wrap=True)
    to.print("In the settings file, and in the chart's values:", soft_wrap=True)
    to.print(f"  pools:\n    - {_as_yaml(entry)}", soft_wrap=True)


def _as_yaml(entry: dict[str, Any]) -> str:
    """Return the entry in one line of YAML."""
    import yaml  # noqa: PLC0415 - 3 MiB

    text = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10_000)
    return str(text).strip()
