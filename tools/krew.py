"""The archive of `kubectl cellar` for krew, and its manifest, which `tools.release` builds.

The plugin needs nothing but the standard library, so its modules are one file that Python runs
(zipapp). The archive's bytes depend on the sources only, so that anybody can build it again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.shell import ROOT

PROGRAM: Final = "kubectl-cellar"
MANIFEST: Final = ROOT / "deploy/krew/cellar.yaml"
SHEBANG: Final = b"#!/usr/bin/env python3\n"
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have
MAIN: Final = "import sys\nfrom driver.cli.kubectl.plugin import main\nsys.exit(main())\n"
# Prints the files of our modules that the plugin loads, and refuses packages of others.
CLOSURE: Final = """
import json, sys
before = set(sys.modules)
import driver.cli.kubectl.plugin
loaded = {name: sys.modules[name] for name in set(sys.modules) - before}
foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"driver"}
assert not foreign, foreign
print(json.dumps([loaded[name].__file__ for name in sorted(loaded) if name.startswith("driver")]))
"""


def build(folder: Path, version: str) -> None:
    """Write kubectl-cellar.tar.gz and kubectl-cellar.yaml, its manifest."""
    archive = folder / f"{PROGRAM}.tar.gz"
    archive.write_bytes(_archive({PROGRAM: program(), "LICENSE": (ROOT / "LICENSE").read_bytes()}))
    text = manifest(version, hashlib.sha256(archive.read_bytes()).hexdigest())
    (folder / f"{PROGRAM}.yaml").write_text(text, encoding="utf-8")


def program() -> bytes:
    """Return the plugin as one file."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        _add(file, "__main__.py", MAIN.encode())
        for module in modules():
            _add(file, str(module.relative_to(ROOT)), module.read_bytes())
    return SHEBANG + data.getvalue()


def modules() -> Sequence[Path]:
    """Return the files of our own modules that the plugin loads."""
    argv = [sys.executable, "-c", CLOSURE]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [Path(name) for name in json.loads(done.stdout)]


def manifest(version: str, digest: str) -> str:
    """Return the manifest with the version, and the address and SHA-256 of the archive."""
    text = MANIFEST.read_text(encoding="utf-8")
    lines = (line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return "".join(lines).replace("v0.1.0", f"v{version}").replace("0" * 64, digest)


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    file.writestr(entry, data)


def _archive(files: dict[str, bytes]) -> bytes:
    """Return a gzipped tar of executable files, without owner and time."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for name, contents in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(contents), 0o755
            file.addfile(entry, io.BytesIO(contents))
    return gzip.compress(data.getvalue(), mtime=0)
