"""A minimal Debian as a folder, by debootstrap, from the mirror that this machine's apt uses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.shell import CACHE
from tools.steps import step

SCRIPTS = Path("/usr/share/debootstrap/scripts")


def make_tree(release: str, folder: Path, packages: Sequence[str] = ()) -> None:
    """Make `folder` the root of Debian's `release` with `packages` in it, unless it is there.

    Needs root. What was interrupted is made anew.
    """
    if folder.exists():
        return
    new = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(new, ignore_errors=True)
    new.parent.mkdir(parents=True, exist_ok=True)
    include = [f"--include={','.join(packages)}"] if packages else []
    argv = ["debootstrap", "--variant=minbase", *include, release, str(new), *_source(release)]
    step(f"making a minimal Debian {release}", argv, log=CACHE / f"logs/debootstrap-{release}.log")
    new.rename(folder)


def _source(release: str) -> list[str]:
    """Return the mirror, and for a release that debootstrap does not know yet how others are made.

    Empty, so that debootstrap takes its own, where apt knows no mirror of Debian.
    """
    suites = mirror()
    known = (SCRIPTS / release).exists()
    return suites if known or not suites else [*suites, "sid"]


def mirror() -> list[str]:
    """Return the mirror of Debian that apt uses; empty: it knows none."""
    filters = ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
    ask = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *filters]
    return subprocess.check_output(ask, text=True).split()[:1]
