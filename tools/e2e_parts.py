"""What `make e2e` and `make chart` are made of, brought into .cache/e2e once: programs from Go
modules, and from Debian packages that are unpacked, never installed; the snapshot CRDs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import golang
from tools.shell import CACHE, ROOT, is_done, mark_done, run, say
from tools.steps import step

E2E = CACHE / "e2e"
BIN = E2E / "bin"
LOGS = E2E / "logs"
MODULES = ROOT / "tests/e2e/gomod"
# As go.mod has it, and go.1.36.mod; a test compares. The sidecars are the newest with each.
KUBERNETES = {"1.37": "v1.37.2", "1.36": "v1.36.4"}
NEWEST = next(iter(KUBERNETES))

CHART_TOOLS = {
    "helm": "helm.sh/helm/v4/cmd/helm@v4.3.1",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
}
CRDS = "github.com/kubernetes-csi/external-snapshotter/client/v8"

# The versions that were tried, of Debian 12. Where they are not on offer (another release, or a
# newer fix), what the machine's apt has is taken instead: it worked with those of 13 and sid too.
PACKAGES = {
    "busybox-static": "1:1.35.0-4+deb12u1+b1",
    "containerd": "1.6.20~ds1-1+deb12u3",
    "containernetworking-plugins": "1.1.1+ds1-3+b5",
    "etcd-server": "3.4.23-4+b4",
    "runc": "1.1.5+ds1-1+deb12u1",
}

_POSTGRES = "postgresql"  # the package that depends on the release's own version


def chosen() -> str:
    """The minor version of Kubernetes that is asked for: K8S=1.36 make e2e."""
    minor = os.environ.get("K8S") or NEWEST
    if minor not in KUBERNETES:
        sys.exit(f"K8S={minor}: it is one of {', '.join(KUBERNETES)}")
    return minor


def programs(minor: str) -> Path:
    """Where the components of that Kubernetes are; an older one's stand before the newest's."""
    return BIN if minor == NEWEST else E2E / f"bin-{minor}"


def chart_tools() -> None:
    """.cache/e2e/bin/helm and kubeconform."""
    for name, source in CHART_TOOLS.items():
        stamp = E2E / f"{name}.stamp"
        if not ((BIN / name).exists() and is_done(stamp, source)):
            argv = [golang.command(), "install", "-trimpath", "-ldflags", "-s -w", source]
            environment = {**_static(), "GOBIN": str(BIN)}
            step(f"building {name} (a minute)", argv, log=LOGS / f"{name}.log", env=environment)
            mark_done(stamp, source)


def kubernetes() -> None:
    """.cache/e2e/bin: the components of Kubernetes, the sidecars, and our pause.

    With K8S=1.36 also .cache/e2e/bin-1.36, the components of that one.
    """
    for minor in dict.fromkeys((NEWEST, chosen())):
        stamp, digest = E2E / f"kubernetes-{minor}.stamp", _digest(minor, "pause/main.go")
        if not is_done(stamp, digest):
            _build_kubernetes(minor)
            mark_done(stamp, digest)


def _build_kubernetes(minor: str) -> None:
    output = ["-o", f"{programs(minor)}/", *_modfile(minor)]
    programs(minor).mkdir(parents=True, exist_ok=True)
    flags = ["-trimpath", "-ldflags", f"-s -w {_version_flags(minor)}", *output]
    argv = [golang.command(), "build", *flags, "tool", *(["./pause"] if minor == NEWEST else [])]
    title = f"building Kubernetes {KUBERNETES[minor]} (15 minutes; once)"
    step(title, argv, log=LOGS / f"kubernetes-{minor}.log", env=_static(), where=MODULES)


def suite() -> None:
    """.cache/e2e/bin/e2e.test: the External.Storage suite of Kubernetes."""
    minor = chosen()
    stamp = E2E / f"suite-{minor}.stamp"
    digest = _digest(minor, "externalstorage/suite_test.go")
    if not is_done(stamp, digest):
        output = ["-o", str(programs(minor) / "e2e.test"), *_modfile(minor), "./externalstorage"]
        argv = [golang.command(), "test", "-c", "-trimpath", "-ldflags", "-s -w", *output]
        title = "building the External.Storage suite (2 minutes; once)"
        step(title, argv, log=LOGS / "suite.log", env=_static(), where=MODULES)
        mark_done(stamp, digest)


def packages() -> None:
    """.cache/e2e/root: etcd, containerd, runc, CNI plugins, busybox."""
    stamp, digest = E2E / "packages.stamp", json.dumps(PACKAGES)
    if is_done(stamp, digest):
        return
    folder, root = E2E / "debs", E2E / "root"
    for made in (folder, root):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    for name, version in PACKAGES.items():
        download(name, version, folder)
    for package in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)])
    mark_done(stamp, digest)


def postgres() -> Path:
    """.cache/e2e/postgres: PostgreSQL as this machine's apt has it, with all that it depends on."""
    stamp, root, folder = E2E / "postgres.stamp", E2E / "postgres", E2E / "postgres-debs"
    if is_done(stamp, _POSTGRES):
        return root
    for made in (folder, root):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    (folder / "partial").mkdir()
    # as if nothing were installed, and without writing to the caches of the machine's apt
    options = [
        "Dir::State::status=/dev/null",
        f"Dir::Cache::archives={folder}",
        "Dir::Cache::pkgcache=",
    ]
    options += ["Dir::Cache::srcpkgcache=", "APT::Sandbox::User=root", "Debug::NoLocking=true"]
    words = ["install", "--download-only", "--yes", "--no-install-recommends", _POSTGRES]
    argv = ["apt-get", *(word for option in options for word in ("-o", option)), *words]
    step("fetching PostgreSQL for a pod (100 MB; once)", argv, log=LOGS / "postgres.log")
    for package in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)])
    shutil.rmtree(folder)
    mark_done(stamp, _POSTGRES)
    return root


def crds() -> Path:
    """The folder of the snapshot CRDs."""
    return module(CRDS) / "config/crd"


def module(path: str) -> Path:
    """The folder of a Go module: PATH in the version of go.mod, or PATH@VERSION."""
    argv = [golang.command(), "mod", "download", "-json", path]
    answer = subprocess.run(
        argv, cwd=MODULES, env=golang.environment(), stdout=subprocess.PIPE, check=False
    )
    module = json.loads(answer.stdout or "{}")
    if "Dir" not in module:
        sys.exit(f"{path}: {module.get('Error', 'no such module')}")
    return Path(module["Dir"])


def download(name: str, version: str, folder: Path) -> None:
    """Put a Debian package into `folder`: of this version, or if apt has not that, of another."""
    # in the folder of the file: apt-get download knows no other; its sandbox may not write there
    fetch = ["apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root"]
    exact = subprocess.run(
        [*fetch, f"{name}={version}"], cwd=folder, check=False, capture_output=True
    )
    if exact.returncode == 0:
        return
    say(f"{name} {version} is not on offer here: taking what is")
    other = subprocess.run([*fetch, name], cwd=folder, check=False)
    if other.returncode:
        sys.exit(f"{name}: no such package here; `apt-get update` may help")


def _modfile(minor: str) -> list[str]:
    return [] if minor == NEWEST else [f"-modfile={_mod(minor)}"]


def _mod(minor: str) -> str:
    return "go.mod" if minor == NEWEST else f"go.{minor}.mod"


def _version_flags(minor: str) -> str:
    major, _, number = minor.partition(".")
    facts = {"gitVersion": KUBERNETES[minor], "gitMajor": major, "gitMinor": number}
    return " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in facts.items())


def _static() -> dict[str, str]:
    return {**golang.environment(), "CGO_ENABLED": "0"}


def _digest(minor: str, *names: str) -> str:
    hashed = hashlib.sha256()
    for name in (_mod(minor), _mod(minor).replace(".mod", ".sum"), *names):
        hashed.update((MODULES / name).read_bytes())
    return hashed.hexdigest()
