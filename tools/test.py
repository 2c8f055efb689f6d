"""Runs the tests that need this machine: `python -m tools.test TIER... [-- PYTEST ARGUMENTS]`.

The tiers are markers: root, sanity, cluster. Says what was not run, and why.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.shell import ROOT, VENV, say

DEVICE_MAPPER = Path("/dev/mapper/control")


def left_out(tiers: list[str]) -> dict[str, str]:
    """Return the markers whose tests are not to run, with the reason."""
    found = {"e2e": "they need a Kubernetes cluster"}
    if "sanity" not in tiers:
        found["sanity"] = "`make sanity` runs them"
    if "cluster" not in tiers:
        found["cluster"] = "`make test-cluster` runs them"
    if os.geteuid() != 0:
        found |= dict.fromkeys(("root", "lvm"), "you are not root")
    elif not DEVICE_MAPPER.exists():
        found["lvm"] = f"there is no {DEVICE_MAPPER}"
    return found


def expression(tiers: list[str], without: dict[str, str]) -> str:
    """Return what pytest's -m wants: any of these tiers, none of those."""
    return " and ".join([f"({' or '.join(tiers)})", *(f"not {marker}" for marker in without)])


def main() -> int:
    """Run the tiers; the result is pytest's, but in CI nothing may be left out for want of root."""
    tiers, arguments = _split(sys.argv[1:])
    without = left_out(tiers)
    lacking_root = "root" in without
    if lacking_root and tiers == ["root"]:
        say("these tests need root")
        return 1
    for marker, reason in without.items():
        say(f"not run: tests marked {marker}; {reason}")
    marked = ["-m", expression(tiers, without)]
    tests = [str(VENV / "bin/python"), "-m", "pytest", *marked, *arguments]
    status = subprocess.run(tests, cwd=ROOT, check=False).returncode
    if lacking_root and os.environ.get("CI") == "true":
        say("failed: not root, and CI=true wants all of it")
        return status or 1
    return status


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    at = [*words, "--"].index("--")
    return words[:at], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
