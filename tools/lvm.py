"""Runs the tests marked lvm: `python -m tools.lvm all|brief [PYTEST ARGUMENTS]`.

`brief` is what `make test` has time for: thin pools, their guard, and others beside them. The tests
run in guests side by side, one for each share of the tests, because a guest has one processor. With
NATIVE in the environment on this machine's own kernel, one after the other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tools.shell import ROOT, VENV, say

TIERS = {
    "all": ("lvm", ("tests/contract",), ("tests/lvm",)),
    "brief": (
        "lvm and not slow",
        ("tests/contract/test_images.py",),
        ("tests/lvm/test_guard.py", "tests/lvm/test_others.py"),
    ),
}
NO_TESTS = 5  # pytest's status
# Of a guest: its memory, in which its disks lie, taken as it is used; and the seconds it may take.
BOUNDS = {"all": ("8G", "10800"), "brief": ("3G", "3600")}


def main() -> int:
    """Run all shares; the worst status of them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the guests end too
    tier, *arguments = sys.argv[1:]
    markers, *shares = TIERS[tier]
    words = [str(VENV / "bin/python"), "-m", "pytest", "-m", markers, "-p", "no:cacheprovider"]
    if os.environ.get("NATIVE"):
        return subprocess.run([*words, *arguments], cwd=ROOT, check=False).returncode
    for name, value in zip(("VM_MEM", "VM_TIMEOUT"), BOUNDS[tier], strict=True):
        os.environ.setdefault(name, value)
    statuses = _in_guests([[*words, *share, *arguments] for share in shares])
    # A share of which the caller's own choice left nothing is no failure.
    return max(0 if status == NO_TESTS and arguments else status for status in statuses)


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
