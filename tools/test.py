"""Runs the tests that need this machine: `python -m tools.test TIER... [-- PYTEST ARGUMENTS]`.

The tiers are markers: root, sanity, cluster, alerts. Says what was not run, and why. With N=2 in
the environment in two processes. As root each is in a mount namespace of its own: some tests copy
theirs, as containers on the same machine do, and a copy of another test's mounts would keep its
loop devices busy.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tools import loops
from tools.shell import ROOT, VENV, say

DEVICE_MAPPER = Path("/dev/mapper/control")
PYTHON = str(VENV / "bin/python")
PATIENCE = 10.0  # seconds: a loop device that was let go may need a moment


def left_out(tiers: list[str]) -> dict[str, str]:
    """Return the markers whose tests are not to run, with the reason."""
    found = {"e2e": "they need a Kubernetes cluster"}
    if "sanity" not in tiers:
        found["sanity"] = "`make sanity` runs them"
    if "cluster" not in tiers:
        found["cluster"] = "`make test-cluster` runs them"
    if "alerts" not in tiers:
        found["alerts"] = "`make test-alerts` runs them"
    if os.geteuid() != 0:
        found |= dict.fromkeys(("root", "lvm"), "you are not root")
    elif not DEVICE_MAPPER.exists():
        found["lvm"] = f"there is no {DEVICE_MAPPER}"
    return found


def expression(tiers: list[str], without: dict[str, str]) -> str:
    """Return what pytest's -m wants: any of these tiers, none of those."""
    return " and ".join([f"({' or '.join(tiers)})", *(f"not {marker}" for marker in without)])


def main() -> int:
    """Run the tiers; the result is pytest's.

    But in CI nothing may be left out for want of root, and nothing left behind on the machine.
    """
    tiers, arguments = _split(sys.argv[1:])
    without = left_out(tiers)
    lacking_root = "root" in without
    if lacking_root and tiers in (["root"], ["alerts"]):
        say("these tests need root")
        return 1
    for marker, reason in without.items():
        say(f"not run: tests marked {marker}; {reason}")
    marked = ["-m", expression(tiers, without)]
    tests = [*_alone(), PYTHON, "-m", "pytest", *marked, *_processes(), *arguments]
    if not lacking_root:
        loops.forget_unused()
    before = in_use()
    status = subprocess.run(tests, cwd=ROOT, check=False).returncode
    for one in (left := left_since(before)):
        say(f"left behind, by these tests or by somebody else meanwhile: {one}")
    if os.environ.get("CI") != "true":
        return status
    if lacking_root:
        say("failed: not root, and CI=true wants all of it")
    return status or int(lacking_root or bool(left))


def left_since(before: set[str]) -> list[str]:
    end = time.monotonic() + PATIENCE
    while (left := in_use() - before) and time.monotonic() < end:
        time.sleep(0.1)
    return sorted(left)


def in_use() -> set[str]:
    """Loop devices that are bound, by what they show, and mount points."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    return {
        *(f"mount at {line.split()[4]}" for line in mounts),
        *(f"loop device of {text}" for one in backing if (text := _read(one))),
    }


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:  # it went while we looked
        return ""


def _processes() -> list[str]:
    number = os.environ.get("N", "0")
    if number == "0" or os.geteuid() != 0:
        return ["-n", number]
    python = shlex.join([*_alone(), PYTHON])
    return ["--dist", "worksteal", "--tx", f"{number}*popen//python={python}"]


def _alone() -> list[str]:
    """Words before a program that give it a mount namespace of its own; none without root."""
    root = os.geteuid() == 0
    return ["unshare", "--mount", "--propagation", "private"] if root else []


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    at = [*words, "--"].index("--")
    return words[:at], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
