"""The archive for krew: it runs by itself, and its manifest is of this archive."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import yaml

from tools import krew


def test_the_program_runs_without_the_checkout_and_without_packages(tmp_path: Path) -> None:
    krew.build(tmp_path, "1.2.3")
    # Not by extractall: Python 3.11.2 of Debian 12 has no filter= for it.
    subprocess.run(["tar", "-xzf", "kubectl-cellar.tar.gz"], cwd=tmp_path, check=True)
    program = tmp_path / "kubectl-cellar"
    assert program.stat().st_mode & 0o111
    assert (tmp_path / "LICENSE").exists()
    words = [sys.executable, "-I", "-S", str(program)]
    done = subprocess.run(
        [*words, "--kubectl", str(tmp_path / "none"), "volumes"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("kubectl cellar: ")
    assert "is not installed" in done.stderr


def test_the_manifest_has_the_version_and_the_digest_of_the_archive(tmp_path: Path) -> None:
    krew.build(tmp_path, "1.2.3")
    manifest = yaml.safe_load((tmp_path / "kubectl-cellar.yaml").read_text())
    assert manifest["spec"]["version"] == "v1.2.3"
    [platform] = manifest["spec"]["platforms"]
    data = (tmp_path / "kubectl-cellar.tar.gz").read_bytes()
    assert platform["sha256"] == hashlib.sha256(data).hexdigest()
    assert "v1.2.3" in platform["uri"]
    assert platform["uri"].endswith("/kubectl-cellar.tar.gz")
    assert platform["bin"] == "kubectl-cellar"


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    archives = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        krew.build(tmp_path / name, "1.2.3")
        archives.append((tmp_path / name / "kubectl-cellar.tar.gz").read_bytes())
    assert archives[0] == archives[1]
