"""What the scripts in tools share: places, running a program, and knowing what was done before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"


def say(text: str) -> None:
    """One line of progress, in order with what the programs print."""
    print(f"==> {text}", flush=True)


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
    """Run a program in the open; its failure ends this one."""
    status = subprocess.run(argv, env=env, cwd=ROOT, check=False).returncode
    if status:
        sys.exit(f"{' '.join(argv)}: exit status {status}")


def is_done(stamp: Path, wanted: str) -> bool:
    """Whether the step that leaves `stamp` was done for exactly `wanted`."""
    return stamp.exists() and stamp.read_text(encoding="utf-8") == wanted


def mark_done(stamp: Path, wanted: str) -> None:
    """Remember a step; to be called last."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted, encoding="utf-8")
