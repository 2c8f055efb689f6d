"""Brings in what a make target needs: `python3 -m tools.setup TARGET`; what is there costs nothing.

Runs before anything is installed, hence the standard library only and any Python 3 from 3.8.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tools import golang, packages, programs
from tools.shell import CACHE, ROOT, VENV, is_done, mark_done, run
from tools.steps import step

VERSIONS = range(11, 15)  # 3.x, as requires-python says
MADE = VENV / ".made"


def main() -> None:
    """Install what Debian has, then take the steps of the target named on the command line."""
    target = sys.argv[1]
    python = _python()
    if missing := sorted({*_packages(target, python)}):
        programs.install(missing)
    CACHE.mkdir(exist_ok=True)
    _make_venv(python)
    _install_packages(target)
    for bring in STEPS.get(target, ()):
        bring()


def _packages(target: str, python: str) -> Iterator[str]:
    if not is_done(MADE, _venv_wanted(python)) and not _works(python, "import ensurepip"):
        yield f"{_version(python)}-venv"
    if target in {"image", "e2e", "release"}:
        yield from programs.missing(programs.IMAGE)
    if target == "e2e":
        yield from programs.missing(programs.CLUSTER)
    if target == "page" and not any(shutil.which(browser) for browser in programs.BROWSERS):
        yield programs.BROWSERS[0]
    if os.geteuid() == 0 and target in {"demo", "bench", "test", "alerts"}:
        yield from programs.missing(programs.DRIVER)
    if os.geteuid() == 0 and target == "test":
        yield from programs.missing(programs.TESTS)
    if (
        target in {"test", "chart", "e2e", "workflows", "release"}
        and not golang.CERTIFICATES.exists()
    ):
        yield "ca-certificates"


def _python() -> str:
    if sys.version_info.minor in VERSIONS:
        return sys.executable
    for minor in reversed(VERSIONS):
        if python := shutil.which(f"python3.{minor}"):
            return python
    here = sys.version.split()[0]
    sys.exit(f"Python 3.{VERSIONS[0]} to 3.{VERSIONS[-1]} is needed; this is {here}")


def _make_venv(python: str) -> None:
    stamp_text = _venv_wanted(python)
    if not is_done(MADE, stamp_text):
        argv = [python, "-m", "venv", "--clear", str(VENV)]
        step(f"making .venv with {_version(python)}", argv, log=CACHE / "logs/venv.log")
        mark_done(MADE, stamp_text)


def _install_packages(target: str) -> None:
    """The demo gets by without development tools, which a later target adds to the same place."""
    python = VENV / "bin/python"
    developing, running = VENV / ".development", VENV / ".runtime"
    if is_done(developing, "done") or (target == "demo" and is_done(running, "done")):
        pass
    elif target == "demo":
        packages.install(python, packages.RUNTIME, packages.BUILD)
        mark_done(running, "done")
    else:
        packages.install(python, packages.DEVELOPMENT)
        packages.compile_modules(VENV)
        mark_done(developing, "done")
    packages.install_itself(python)


def _install_release_tools() -> None:
    """Make .cache/release, a virtual environment of the tools that check and describe a release."""
    packages.make_environment(CACHE / "release", ROOT / "requirements-release.lock")


def _install_axe() -> None:
    """Make .cache/axe, a virtual environment of axe-core alone, for the tests of the page."""
    packages.make_environment(CACHE / "axe", ROOT / "requirements-axe.lock")


def _install_hook() -> None:
    """Install the pre-commit hook, unless this clone keeps its hooks elsewhere."""
    ask = ["git", "-C", str(ROOT), "config", "core.hooksPath"]
    if (ROOT / ".git").is_dir() and subprocess.run(ask, check=False).returncode != 0:
        run([str(VENV / "bin/pre-commit"), "install"])


def _venv_wanted(python: str) -> str:
    """A copied folder starts anew, since scripts hold absolute paths; so do other versions."""
    locks = packages.digest(packages.RUNTIME, packages.BUILD, packages.DEVELOPMENT)
    return f"{_version(python)} {VENV} {locks}"


def _version(python: str) -> str:
    """Return `python3.11`, the stem of the names that Debian's packages have."""
    if python == sys.executable:
        return f"python3.{sys.version_info.minor}"
    return Path(python).name


def _works(python: str, code: str) -> bool:
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


STEPS: dict[str, tuple[Callable[[], None], ...]] = {
    "setup": (_install_hook,),
    "check": (golang.spec,) if os.environ.get("CI") == "true" else (),  # else its test is skipped
    "test": (golang.spec, golang.sanity),
    "page": (_install_axe,),
    "workflows": (golang.actionlint, _install_release_tools),
    "release": (_install_release_tools,),
}

if __name__ == "__main__":
    main()
