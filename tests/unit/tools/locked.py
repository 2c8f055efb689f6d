"""What the lock files say, read for the tests."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.shell import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = [Requirement(one) for one in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(one) for one in PROJECT["dependency-groups"]["dev"]]
BUILD = [Requirement(one) for one in PROJECT["build-system"]["requires"]]

_PIN = re.compile(r"^([\w.-]+)==(\S+?)(?: ; (.+?))? \\$")


@dataclass(frozen=True)
class Pin:
    """One package of a lock file, with the systems that it is for."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]

    def applies(self, environment: Mapping[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(dict(environment))


def pins(lock: Path) -> dict[str, Pin]:
    """By name, as the index writes it."""
    return {pin.name: pin for pin in _read(lock)}


def _read(lock: Path) -> Iterator[Pin]:
    """A pin's line, then a line for each of its hashes, then who wants it."""
    for block in re.split(r"\n(?=\w)", lock.read_text(encoding="utf-8")):
        found = _PIN.match(block.splitlines()[0])
        assert found, f"{lock.name}: {block.splitlines()[0]}"
        name, version, marker = found.groups()
        hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block))
        yield Pin(canonicalize_name(name), version, Marker(marker) if marker else None, hashes)


def environment(minor: int, machine: str) -> dict[str, str]:
    """Of Linux with Python 3.`minor` on `machine`, for markers."""
    other = {
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.1",
        "implementation_version": f"3.{minor}.1",
        "platform_machine": machine,
    }
    return {name: str(value) for name, value in default_environment().items()} | other
