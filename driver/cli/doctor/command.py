"""`cellar doctor`: what this machine lacks for the driver, and the cure, one line each."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from driver.app.pools import type_of
from driver.cli.doctor import checks
from driver.cli.output import Output, as_json, console
from driver.cli.pool_options import ConfigOption, PoolOption, StateDirOption, load_settings
from driver.core.errors import Invalid
from driver.core.findings import Finding, Level, problem
from driver.core.model import FsType
from driver.linux.formats import luks
from driver.linux.mounts import mountinfo
from driver.linux.state.node_state import node_state

STYLES: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}

KubeletDir = Annotated[Path, typer.Option(help="Kubelet's directory.")]
Endpoint = Annotated[
    str, typer.Option(envvar="CELLAR_ENDPOINT", help="A running driver, to be asked too.")
]
Format = Annotated[Output, typer.Option("--output", "-o", help="A table, or JSON for programs.")]


def command(  # noqa: PLR0913 - one for each option
    *,
    pool: PoolOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    kubelet_dir: KubeletDir = Path("/var/lib/kubelet"),
    endpoint: Endpoint = "",
    output: Format = Output.TABLE,
) -> None:
    """Say what this machine lacks, and the cure; exit status 1 if there is a problem."""
    findings = [*_check_machine(kubelet_dir)]
    if pool or config:
        findings += _check_pools(pool, config, state_dir)
    if endpoint:
        findings.append(checks.endpoint(endpoint))
    if output is Output.JSON:
        as_json([_as_row(finding) for finding in findings])
    else:
        _print(findings)
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


def _check_machine(kubelet_dir: Path) -> Iterator[Finding]:
    release = os.uname().release
    known = Path("/proc/filesystems").read_text(encoding="ascii")
    yield checks.user(os.geteuid())
    yield from checks.capabilities(Path("/proc/self/status").read_text(encoding="utf-8"))
    yield checks.kernel(release)
    yield checks.loop_devices()
    yield checks.attributes()
    for fs in FsType:
        yield checks.programs(fs)
        yield checks.kernel_filesystem(fs, known, Path("/lib/modules", release))
    yield checks.descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield checks.encryption(luks.lacks_encryption())
    yield checks.uevents()
    yield checks.kubelet(kubelet_dir, mountinfo.read())


def _check_pools(
    pool: list[str] | None, config: Path | None, state_dir: Path | None
) -> Iterator[Finding]:
    """Yield what each type of pool finds out about its pools that are configured."""
    try:
        settings = load_settings(pool, config, state_dir)
        types = [type_of(spec) for spec in settings.pools]
        records = node_state(settings.state_dir, settings.driver_name).pools
        for pool_type in dict.fromkeys(types):
            pools = [pool_type.read(spec) for spec in settings.pools if spec.type == pool_type.name]
            yield from pool_type.check(pools, settings.driver_name, records)
    except Invalid as error:
        yield problem("configuration", str(error), "see `cellar serve --help`")


def _print(findings: list[Finding]) -> None:
    """Print a line for each finding; a long one is not folded, so that it can be searched for."""
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        line = Text(f"{finding.level:<8}", style=STYLES[finding.level])
        line.append(f" {finding.subject:<{width}}  ", style="bold")
        line.append(finding.text, style="default")
        if finding.cure:
            line.append(f" → {finding.cure}", style="cyan")
        console().print(line, soft_wrap=True)


def _as_row(finding: Finding) -> dict[str, str]:
    """Return the finding for programs, with the keys that they know."""
    return {
        "level": finding.level,
        "what": finding.subject,
        "text": finding.text,
        "cure": finding.cure,
    }
