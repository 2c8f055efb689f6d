"""`cellar doctor`: prints the problems of this machine, one line each with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from driver.cli.connection import Format
from driver.cli.output import ExitStatus, Output, console, print_rows
from driver.cli.pool_options import ConfigOption, PoolOption, StateDirOption
from driver.core.findings import Finding, Level

STYLES: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}

KubeletDir = Annotated[Path, typer.Option(metavar="DIR", help="Kubelet's directory.")]
Endpoint = Annotated[
    str,
    typer.Option(
        envvar="CELLAR_ENDPOINT",
        metavar="unix:///PATH",
        help="The socket of a running driver, which is asked too.",
    ),
]


def command(  # noqa: PLR0913 - one for each option
    *,
    pool: PoolOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    kubelet_dir: KubeletDir = Path("/var/lib/kubelet"),
    endpoint: Endpoint = "",
    output: Format = Output.TABLE,
) -> None:
    """Check what the driver needs of this machine, of configured pools, and of a running driver.

    Each problem is printed with its cure; exit status 1 if there is one.
    """
    from driver.cli.doctor import inspection  # noqa: PLC0415 - the backends, not for --help

    findings = [*inspection.check_machine(kubelet_dir)]
    if pool or config:
        findings += inspection.check_pools(pool, config, state_dir)
    if endpoint:
        findings.append(inspection.check_driver(endpoint))
    if output.is_table:
        _print(findings)
    else:
        print_rows(output, (), map(_as_row, findings), name="what")
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(ExitStatus.FAILED)


def _print(findings: Sequence[Finding]) -> None:
    """Print a line for each finding; a long one is not folded, so that it can be searched for."""
    width = max(len(finding.subject) for finding in findings)
    to = console()
    for finding in findings:
        line = Text(f"{finding.level:<8}", style=STYLES[finding.level])
        line.append(f" {finding.subject:<{width}}  ", style="bold")
        line.append(finding.text, style="default")
        if finding.cure:
            line.append(f" → {finding.cure}", style="cyan")
        to.print(line, soft_wrap=True)


def _as_row(finding: Finding) -> dict[str, str]:
    """Return the finding for programs, with the keys that they know."""
    return {
        "level": finding.level,
        "what": finding.subject,
        "text": finding.text,
        "cure": finding.cure,
    }
