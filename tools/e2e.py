"""A real Kubernetes of two nodes with the chart: `python -m tools.e2e test|smoke|up|down|pods|...`.

What it needs is built or fetched once and kept in .cache/e2e. The tests are in tests/e2e.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import e2e_parts, loops
from tools.shell import CACHE, ROOT, VENV, is_done, mark_done, say
from tools.steps import step

ARCHIVE = CACHE / "image/cellar.oci.tar"
CLUSTER = ROOT / "tests/e2e/nodes/cluster.sh"
SPACE = 15 << 30  # bytes: Go's build cache takes 5 GB, its modules 2, images and nodes the rest


def main() -> int:
    """Bring in the parts, then do what is asked for."""
    verb, *arguments = sys.argv[1:] or ["test"]
    if os.geteuid() != 0:
        say("a cluster needs root: its nodes are made of namespaces, mounts and loop devices")
        return 1
    if verb == "down":
        return subprocess.run([CLUSTER, "wipe"], check=False).returncode
    parts()
    if verb == "suite":
        e2e_parts.suite()
        return _run("-m", "tests.e2e.suite", *arguments)
    if verb == "pods":
        return _run("-m", "tests.e2e.pods", *arguments)
    if verb == "tour":
        return _run("-m", "tests.e2e.tour", *arguments)
    if verb == "up":
        os.environ["KEEP"] = "1"
        arguments = ["-k", "test_01_install", *arguments]
    return _tests("e2e and smoke" if verb == "smoke" else "e2e", arguments)


def parts() -> None:
    """All that a cluster is made of; what is there already costs nothing."""
    if not (e2e_parts.E2E / f"kubernetes-{e2e_parts.NEWEST}.stamp").exists():
        _room()
    e2e_parts.packages()
    e2e_parts.postgres()
    e2e_parts.chart_tools()
    e2e_parts.kubernetes()
    stamp, digest = e2e_parts.E2E / "image.stamp", _digest()
    if not (ARCHIVE.exists() and is_done(stamp, digest)):
        argv = [str(VENV / "bin/python"), "-m", "tools.image"]
        step("building the project's image", argv, log=e2e_parts.LOGS / "image.log")
        mark_done(stamp, digest)


def _tests(marked: str, arguments: Sequence[str]) -> int:
    """In the order of their files: each is harder on the cluster than the one before."""
    loops.forget_unused()
    how = ["-m", marked, "-p", "no:randomly", "-v", "--durations=10"]
    return _run("-m", "pytest", "tests/e2e", *how, *arguments)


def _run(*words: str) -> int:
    return subprocess.run([str(VENV / "bin/python"), *words], cwd=ROOT, check=False).returncode


def _room() -> None:
    free = shutil.disk_usage(CACHE).free
    if free < SPACE:
        say(f"only {free >> 30} GB are free here; the first build takes up to {SPACE >> 30}")


def _digest() -> str:
    """Of all that goes into the image."""
    hashed = hashlib.sha256()
    for path in _sources():
        hashed.update(str(path.relative_to(ROOT)).encode())
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _sources() -> Iterator[Path]:
    yield from sorted(ROOT.glob("requirements*.lock"))
    yield from (ROOT / name for name in ("Dockerfile", "pyproject.toml", "README.md"))
    for folder in ("csi_proto", "driver"):
        yield from sorted(
            path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".proto", ".pyi"}
        )


if __name__ == "__main__":
    sys.exit(main())
