"""Builds the container image without Docker or a registry: `python -m tools.image`.

The base is made by debootstrap and committed by buildah; a second run finds it made. In the
environment: SUITE (a release of Debian), IMAGE (what to call it).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

from tools import debian
from tools.shell import CACHE, ROOT, run, say

SUITE = os.environ.get("SUITE", "trixie")
BASE = f"localhost/cellar-base:{SUITE}"
ARCHIVE = CACHE / "image/cellar.oci.tar"
BUILDAH = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}  # works inside a container


def main() -> None:
    """Build the image, let it examine itself, and write it to a file that a cluster can load."""
    if os.geteuid() != 0:
        sys.exit("building an image needs root: debootstrap and buildah make mounts")
    os.environ.update(BUILDAH)
    image = os.environ.get("IMAGE", f"localhost/cellar:{version()}")
    _make_base()
    say(f"building {image}")
    facts = {"BASE": BASE, "VERSION": version(), "REVISION": _revision()}
    arguments = [f"--build-arg={name}={value}" for name, value in facts.items()]
    run(["buildah", "bud", "--layers", *arguments, *_certificates(), f"--tag={image}", "."])
    _examine(image)
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)  # the base may be known from another clone
    ARCHIVE.unlink(missing_ok=True)
    run(["buildah", "push", "--quiet", image, f"oci-archive:{ARCHIVE}:{image}"])
    say(f"{image} is in {ARCHIVE.relative_to(ROOT)}")


def _make_base() -> None:
    known = subprocess.run(["buildah", "inspect", BASE], capture_output=True, check=False)
    if known.returncode == 0:
        return
    folder = CACHE / "image" / SUITE
    debian.make_tree(SUITE, folder)
    container = _container("scratch")
    try:
        run(["buildah", "copy", "--quiet", container, str(folder), "/"])
        run(["buildah", "commit", "--quiet", container, BASE])
    finally:
        run(["buildah", "rm", container])


def _examine(image: str) -> None:
    """Run `cellar doctor` inside: it finds fault with this machine, but must find its programs."""
    container = _container(image)
    try:
        run(["buildah", "run", "--cap-add=CAP_SYS_ADMIN", container, "--", "cellar", "doctor"])
    finally:
        run(["buildah", "rm", container])


def _container(image: str) -> str:
    return subprocess.check_output(["buildah", "from", image], text=True).strip()


def _certificates() -> list[str]:
    """Let pip inside the build trust what pip outside of it was told to trust."""
    if not (trusted := os.environ.get("PIP_CERT")):
        return []
    inside = "/run/host-ca.crt"
    return [f"--volume={trusted}:{inside}:ro", f"--build-arg=PIP_CERT={inside}"]


def version() -> str:
    """Return the project's version, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _revision() -> str:
    ask = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", "HEAD"]
    answer = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=False)
    return answer.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
