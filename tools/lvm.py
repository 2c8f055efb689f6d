"""Runs the tests marked lvm: `python -m tools.lvm MARKERS [PYTEST ARGUMENTS]`.

In guests side by side, one for each share of the tests, because a guest has one processor. With
NATIVE in the environment on this machine's own kernel, one after the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tools.shell import ROOT, VENV, say

SHARES = (("tests/contract",), ("tests/lvm",))
NO_TESTS = 5  # pytest's status


def main() -> int:
    """Run all shares; the worst status of them."""
    markers, *arguments = sys.argv[1:]
    words = [str(VENV / "bin/python"), "-m", "pytest", "-m", markers, "-p", "no:cacheprovider"]
    if os.environ.get("NATIVE"):
        return subprocess.run([*words, *arguments], cwd=ROOT, check=False).returncode
    statuses = _in_guests([[*words, *share, *arguments] for share in SHARES])
    return max(0 if status == NO_TESTS else status for status in statuses)


def _in_guests(commands: list[list[str]]) -> list[int]:
    """Each one's output is shown when it has ended, whole."""
    with ExitStack() as files:
        where = Path(files.enter_context(tempfile.TemporaryDirectory(prefix="cellar-lvm-")))
        running = []
        for number, command in enumerate(commands):
            log = files.enter_context((where / f"{number}.log").open("wb"))
            guest = [str(ROOT / "tests/vm/run.sh"), *command]
            running.append(subprocess.Popen(guest, cwd=ROOT, stdout=log, stderr=log))
        statuses = []
        try:
            for number, child in enumerate(running):
                statuses.append(child.wait())
                say(f"in a guest: {' '.join(commands[number][5:])}")
                print((where / f"{number}.log").read_text(errors="replace"), flush=True)
        finally:
            for child in running:
                child.terminate()
                child.wait()
    return statuses


if __name__ == "__main__":
    sys.exit(main())
