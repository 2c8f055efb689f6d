"""Runs the tests marked lvm: `python -m tools.lvm all|brief [PYTEST ARGUMENTS]`.

`brief` is what `make test` has time for: full thin pools, other groups beside a pool, IO limits.
The tests run in guests side by side, one for each share of the tests, because a guest has one
processor. With NATIVE in the environment on this machine's own kernel, one after the other.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from threading import Thread

from tools.shell import ROOT, VENV, say

TIERS = {
    "all": ("lvm", ("tests/contract",), ("tests/lvm",)),
    "brief": (
        "lvm and not slow",
        ("tests/contract/test_images.py",),
        (
            *("tests/lvm/test_thin_usage.py", "tests/lvm/test_others.py"),
            *("tests/lvm/test_io_limits.py", "tests/lvm/test_io_limits_killed.py"),
        ),
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
    """Each one's lines are shown as they come, with its number before them."""
    running: list[subprocess.Popen[str]] = []
    threads: list[Thread] = []
    try:
        for number, command in enumerate(commands, 1):
            say(f"guest {number}: {' '.join(command[5:])}")
            guest = [str(ROOT / "tests/vm/run.sh"), *command]
            out, both = subprocess.PIPE, subprocess.STDOUT
            child = subprocess.Popen(
                guest, cwd=ROOT, stdout=out, stderr=both, text=True, errors="replace"
            )
            running.append(child)
            threads.append(Thread(target=_show, args=(number, child), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return [child.wait() for child in running]
    finally:
        for child in running:
            child.terminate()
            child.wait()


def _show(number: int, child: subprocess.Popen[str]) -> None:
    assert child.stdout  # noqa: S101 - a pipe
    for line in child.stdout:
        print(f"{number}| {line}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
