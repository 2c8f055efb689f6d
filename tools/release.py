"""A release that anybody can make: `python -m tools.release build [--without-image]`.

It writes to dist/ what .github/workflows/release.yml publishes, and checks each part: the wheel is
installed in an empty environment and serves, the chart is linted and of the same version, the
SBOM names all of the lock file, the plugin in krew's archive runs, the image is examined by itself.
`check-tag TAG` compares a tag.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import yaml

from tools import e2e_parts, image, krew, packages
from tools.shell import CACHE, ROOT, VENV, run, say

DIST: Final = ROOT / "dist"
CHANGES: Final = ROOT / "CHANGELOG.md"
CHART: Final = ROOT / "charts/cellar"
TOOLS: Final = CACHE / "release/bin"  # cyclonedx-py and zizmor, by tools.setup
START_TIMEOUT: Final = 30.0  # seconds until a driver that was just installed answers


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["check-tag", tag]:
            check_tag(tag)
        case ["build", *options]:
            build(with_image="--without-image" not in options)
        case _:
            sys.exit(__doc__)


def check_tag(tag: str) -> None:
    """End with status 1 unless `tag` is the version after a `v`, and the changelog has it."""
    if tag != f"v{image.version()}":
        sys.exit(f"the tag is {tag}, the version in pyproject.toml {image.version()}")
    notes(image.version())


def build(*, with_image: bool) -> None:
    """Build all artefacts into dist/ and check each one; the image needs root."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    (DIST / "NOTES.md").write_text(notes(image.version()), encoding="utf-8")
    wheel = build_wheel()
    with tempfile.TemporaryDirectory(prefix="cellar-release-") as folder:
        python = install_wheel(wheel, Path(folder) / "venv")
        check_that_it_serves(python.parent / "cellar", Path(folder))
        write_sbom(python, DIST / f"cellar-{image.version()}.cdx.json")
    package_chart()
    krew.build(DIST, image.version())
    check_plugin(DIST / f"{krew.PROGRAM}.tar.gz")
    if with_image:
        image.main()
        shutil.copy(image.ARCHIVE, DIST / f"cellar-{image.version()}.oci.tar")
    for artefact in sorted(DIST.iterdir()):
        say(f"dist/{artefact.name}: {artefact.stat().st_size / 1e6:.1f} MB")


def notes(version: str) -> str:
    """Return the changelog's section of `version` without its heading; ends if there is none."""
    text = CHANGES.read_text(encoding="utf-8")
    found = re.search(
        rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if not found:
        sys.exit(f"CHANGELOG.md has no section [{version}]")
    return found[1].strip() + "\n"


def build_wheel() -> Path:
    """Build dist/cellar_csi-VERSION-py3-none-any.whl with the pinned setuptools, offline."""
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    run(
        [
            str(VENV / "bin/python"),
            "-m",
            "pip",
            "wheel",
            *offline,
            "--wheel-dir",
            str(DIST),
            str(ROOT),
        ]
    )
    [wheel] = DIST.glob("*.whl")
    return wheel


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install the locked packages and `wheel` in a new environment; return its interpreter."""
    say("installing the wheel in an empty environment")
    run([str(VENV / "bin/python"), "-m", "venv", str(folder)])
    python = folder / "bin/python"
    packages.install(python, packages.RUNTIME)
    run([str(python), *packages.PIP, "--quiet", "--no-index", "--no-deps", str(wheel)])
    run([str(python), "-m", "pip", "check"])
    return python


def check_that_it_serves(cellar: Path, folder: Path) -> None:
    """Serve a simulated pool from the installed wheel, outside of this checkout, and ask for it."""
    endpoint = f"unix://{folder}/csi.sock"
    words = [str(cellar), "serve", "--endpoint", endpoint, "--pool", "sim=memory:1GiB"]
    driver = subprocess.Popen(
        [*words, "--node-id", "release"], cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        answer = _ask([str(cellar), "pools", "--endpoint", endpoint, "-o", "json"], folder)
    finally:
        driver.terminate()
        status = driver.wait(timeout=START_TIMEOUT)
    if status or "sim" not in answer:
        sys.exit(f"the installed wheel does not serve: exit status {status}, pools {answer!r}")
    say("the wheel serves a pool from an empty environment")


def _ask(words: list[str], folder: Path) -> str:
    end = time.monotonic() + START_TIMEOUT
    while True:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode == 0 or time.monotonic() > end:
            return done.stdout
        time.sleep(0.2)


def write_sbom(python: Path, target: Path) -> None:
    """Write a CycloneDX bill of what `python` has installed, and check it against the lock file."""
    words = [str(TOOLS / "cyclonedx-py"), "environment", str(python), "--pyproject"]
    run([*words, str(ROOT / "pyproject.toml"), "--output-reproducible", "-o", str(target)])
    bill = json.loads(target.read_text(encoding="utf-8"))
    named = {(_plain(part["name"]), part["version"]) for part in bill["components"]}
    if missing := locked() - named:
        sys.exit(f"not in the SBOM: {sorted(missing)}")


def locked() -> set[tuple[str, str]]:
    """Return name and version of each package that the lock file has for every Python."""
    lines = packages.RUNTIME.read_text(encoding="utf-8").splitlines()
    pinned = (re.match(r"([A-Za-z0-9._-]+)==([^ ;]+) *(;?)", line) for line in lines)
    # Those with a marker may belong to another Python; `pip check` has agreed with what is there.
    return {(_plain(found[1]), found[2]) for found in pinned if found and not found[3]}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_plugin(archive: Path) -> None:
    """Run the program of krew's archive without this checkout and without any package."""
    with tempfile.TemporaryDirectory(prefix="cellar-krew-") as folder:
        run(["tar", "-xzf", str(archive), "-C", folder])
        words = [sys.executable, "-I", "-S", str(Path(folder, krew.PROGRAM)), "--help"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode or "describe" not in done.stdout:
        sys.exit(f"the plugin of krew's archive does not run: {done.stderr}")
    say("the plugin of krew's archive runs")


def package_chart() -> None:
    """Lint the chart and write dist/cellar-VERSION.tgz."""
    e2e_parts.chart_tools()
    helm = str(e2e_parts.BIN / "helm")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["version"]
    if version != image.version():
        sys.exit(f"the chart is of version {version}, the project of {image.version()}")
    run([helm, "lint", "--strict", str(CHART), *_enough_values()])
    environment = {**os.environ, "HELM_CACHE_HOME": str(CACHE / "helm")}
    run([helm, "package", str(CHART), "--destination", str(DIST)], env=environment)


def _enough_values() -> list[str]:
    return ["--values", str(ROOT / "tests/chart/everything.yaml")]


if __name__ == "__main__":
    main()
