"""`cellar doctor`: what this machine lacks for the driver, and the cure, one line each."""

from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from driver.app.config import Config, PoolSpec
from driver.backends.loopfile import backend as loopfile
from driver.backends.lvm import options as lvm_options
from driver.cli.doctor import checks, lvm
from driver.cli.doctor.checks import Finding, Level
from driver.cli.output import Output, as_json, console
from driver.cli.pool_options import ConfigOption, PoolOption, StateDirOption, pools_of
from driver.core.errors import Invalid
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
    findings = [*_machine(kubelet_dir)]
    if pool or config:
        findings += _pools(pool, config, state_dir)
    if endpoint:
        findings.append(checks.endpoint(endpoint))
    if output is Output.JSON:
        as_json([dataclasses.asdict(one) for one in findings])
    else:
        _tell(findings)
    if any(one.level is Level.PROBLEM for one in findings):
        raise typer.Exit(1)


def _machine(kubelet_dir: Path) -> Iterator[Finding]:
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


def _pools(
    pool: list[str] | None, config: Path | None, state_dir: Path | None
) -> Iterator[Finding]:
    try:
        settings = pools_of(pool, config, state_dir)
        if any(spec.type == "lvm" for spec in settings.pools):
            yield from lvm.machine()
        records = node_state(settings.state_dir, settings.driver_name).pools
        for spec in settings.pools:
            if spec.type == "loopfile":
                init = spec.options_as(loopfile.Options).init
                yield from checks.pool(spec.name, spec.path(), records, init=init)
            elif spec.type == "lvm":
                yield from _lvm_pool(spec, settings)
        yield from checks.shared_filesystems(
            {one.name: one.path() for one in settings.pools if one.type == "loopfile"}
        )
    except Invalid as error:
        yield checks.problem("configuration", str(error), "see `cellar serve --help`")


def _lvm_pool(spec: PoolSpec, settings: Config) -> Iterator[Finding]:
    options = spec.options_as(lvm_options.Options)
    records = node_state(settings.state_dir, settings.driver_name).pools
    yield from lvm.pool(spec.name, spec.where, settings.driver_name, options, records)


def _tell(findings: list[Finding]) -> None:
    to = console()
    width = max(len(one.what) for one in findings)
    for one in findings:
        line = Text(f"{one.level:<8}", style=STYLES[one.level])
        line.append(f" {one.what:<{width}}  ", style="bold")
        line.append(one.text, style="default")
        if one.cure:
            line.append(f" → {one.cure}", style="cyan")
        to.print(line, soft_wrap=True)
