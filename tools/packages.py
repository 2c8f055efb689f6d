"""Puts the Python packages of a lock file into a virtual environment; nothing is resolved.

pip takes the versions that the lock file names, wheels only and by their hashes, and asks for
nothing else: no dependency that a newer release may have, no program that builds a source archive.
Runs before anything is installed, hence the standard library only and any Python 3 from 3.8.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.shell import CACHE, ROOT, is_done, mark_done, run
from tools.steps import step

# What a demo needs, what builds the wheel of Cellar itself, and what development needs on top:
# requirements-dev.lock repeats the versions of both.
RUNTIME = ROOT / "requirements.lock"
BUILD = ROOT / "requirements-build.lock"
DEVELOPMENT = ROOT / "requirements-dev.lock"

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install")
LOCKED = ("--no-deps", "--require-hashes", "--only-binary=:all:")
# Nothing is fetched: setuptools is there. compat: a .pth file instead of an import hook, which mypy
# and other tools cannot follow.
ITSELF = (
    "--no-index",
    "--no-deps",
    "--no-build-isolation",
    "--config-settings=editable_mode=compat",
)


def install(python: Path, *locks: Path, options: Sequence[str] = ()) -> None:
    """Install exactly what `locks` name, for the interpreter `python`; its failure ends this one.

    What is there in the right version stays. Modules are not compiled: see `compile_modules`.
    """
    named = [word for lock in locks for word in ("--requirement", str(lock))]
    argv = [str(python), *PIP, "--progress-bar=off", "--no-compile", *LOCKED, *options, *named]
    title = f"installing {sum(map(count, locks))} locked packages"
    step(title, argv, log=CACHE / "logs/packages.log")


def make_environment(folder: Path, lock: Path) -> None:
    """Make `folder` a virtual environment of exactly what `lock` names, unless it is one."""
    stamp, wanted = folder / ".locked", f"{digest(lock)} {folder}"
    if not is_done(stamp, wanted):
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        install(folder / "bin/python", lock)
        mark_done(stamp, wanted)


def install_itself(python: Path) -> None:
    """Install this checkout, editable; `BUILD` must be there."""
    stamp = python.parent.parent / ".installed"
    wanted = digest(ROOT / "pyproject.toml")
    if not is_done(stamp, wanted):
        run([str(python), *PIP, "--quiet", *ITSELF, "--editable", str(ROOT)])
        mark_done(stamp, wanted)


def compile_modules(folder: Path) -> None:
    """Compile what lies in the virtual environment `folder`, on all processors, and quietly.

    Else the first import does, and shows a test the warnings of other people's modules.
    """
    python, library = str(folder / "bin/python"), str(folder / "lib")
    argv = [python, "-W", "ignore", "-m", "compileall", "-qq", "-j", "0", library]
    subprocess.run(argv, check=False)  # some packages have files that this Python cannot compile


def count(lock: Path) -> int:
    """Return how many packages a lock file names, those of other systems included."""
    return sum(line[:1].isalnum() for line in lock.read_text(encoding="utf-8").splitlines())


def digest(*files: Path) -> str:
    """Return what changes when one of `files` does."""
    sha256 = hashlib.sha256()
    for file in files:
        sha256.update(file.read_bytes())
    return sha256.hexdigest()
