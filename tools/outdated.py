"""Lists what is behind: `python -m tools.outdated`. Changes nothing.

Python packages by what uv would lock today, Go modules by Go's own proxy, Debian by the mirror that
this machine's apt uses.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools import debian, e2e_parts, golang, lock, packages
from tools.shell import ROOT, say

TIMEOUT = 600.0  # seconds for a question
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
CODENAME = re.compile(r"^Codename: (\S+)$", re.MULTILINE)
BASE = re.compile(r"^ARG BASE=debian:([a-z]+)", re.MULTILINE)


class Row(NamedTuple):
    what: str
    ours: str
    newest: str

    def is_behind(self) -> bool:
        """A proxy may not have listed yet what can be had already, so newer is not behind."""
        numbers = [re.findall(r"[0-9]+", one) for one in (self.ours, self.newest)]
        if not all(numbers):
            return self.ours != self.newest
        ours, newest = ([int(part) for part in one] for one in numbers)
        return ours < newest


def main() -> None:
    """One line for each that is not the newest; a kind that cannot be asked is said."""
    behind = 0
    for kind, rows in (("Go", _go()), ("Python", _python()), ("Debian", _debian())):
        try:
            for row in rows:
                if row.is_behind():
                    behind += 1
                    print(f"{kind:<8}{row.what:<60}{row.ours:<24}{row.newest}", flush=True)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            say(f"{kind}: could not be asked: {error}")
    say(f"{behind} are behind")


def _python() -> Iterator[Row]:
    """What `make lock ARGS=--upgrade` would change."""
    packages.make_environment(lock.HOME, lock.UV)
    ours = dict(LOCKED.findall(packages.DEVELOPMENT.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "locked")
        words = ["pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version=3.11"]
        output = ["pyproject.toml", "--group=dev", f"--output-file={target}"]
        argv = [str(lock.HOME / "bin/uv"), *words, *output]
        subprocess.run(argv, cwd=ROOT, check=True, timeout=TIMEOUT)
        newest = dict(LOCKED.findall(target.read_text(encoding="utf-8")))
    for name, version in sorted(ours.items()):
        yield Row(name, version, str(newest.get(name, version)))


def _go() -> Iterator[Row]:
    """Kubernetes and the sidecars as go.mod has them, and the programs that are built by name."""
    for minor, version in e2e_parts.KUBERNETES.items():
        yield Row(f"Kubernetes {minor}", version, _query(f"k8s.io/kubernetes@v{minor}"))
    newest = e2e_parts.KUBERNETES[e2e_parts.NEWEST]
    yield Row("Kubernetes", newest, _query("k8s.io/kubernetes@latest"))
    text = (e2e_parts.MODULES / "go.mod").read_text(encoding="utf-8")
    sidecar = r"^\t(github\.com/kubernetes-csi/external-\S+) (\S+)"
    for module, version in re.findall(sidecar, text, re.MULTILINE):
        yield Row(module, version, _query(f"{module}@latest"))
    yield Row(golang.SPEC, max(golang.SPEC_SUMS), _query(f"{golang.SPEC}@latest"))
    for program in (golang.SANITY, *e2e_parts.CHART_TOOLS.values()):
        path, _, version = program.partition("@")
        module = path.partition("/cmd/")[0]
        yield Row(module, version, _query(f"{module}@latest"))


def _query(module: str) -> str:
    argv = [golang.command(), "list", "-m", "-json", module]
    done = subprocess.run(
        argv,
        cwd=e2e_parts.MODULES.parent,  # of no module: nothing of ours decides
        env={**golang.environment(), "GOFLAGS": "-mod=mod"},
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return str(json.loads(done.stdout)["Version"])


def _debian() -> Iterator[Row]:
    """The image's base, by the release that its mirror calls stable."""
    [ours] = BASE.findall((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    [mirror] = debian.mirror() or ["https://deb.debian.org/debian"]
    release = urllib.request.Request(f"{mirror.rstrip('/')}/dists/stable/Release")  # noqa: S310 - apt's own mirror
    with urllib.request.urlopen(release, timeout=30) as answer:  # noqa: S310 - the same
        [newest] = CODENAME.findall(answer.read().decode())
    yield Row("the image's base", ours, newest)


if __name__ == "__main__":
    main()
