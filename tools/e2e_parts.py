"""What `make e2e` and `make chart` are made of, brought into .cache/e2e once: programs from Go
modules, and from Debian packages that are unpacked, never installed; the snapshot CRDs.
"""

from __future__ import annotations

import hashlib
import json
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
KUBERNETES = "v1.36.4"  # as go.mod has it; a test compares

CHART_TOOLS = {
    "helm": "helm.sh/helm/v4/cmd/helm@v4.2.4",
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
    """.cache/e2e/bin: the components of Kubernetes, the sidecars, and our pause."""
    stamp, wanted = E2E / "kubernetes.stamp", _digest("go.mod", "go.sum", "pause/main.go")
    if is_done(stamp, wanted):
        return
    flags = ["-trimpath", "-ldflags", f"-s -w {_version_flags()}", "-o", f"{BIN}/"]
    argv = [golang.command(), "build", *flags, "tool", "./pause"]
    title = f"building Kubernetes {KUBERNETES} and the sidecars (15 minutes; once)"
    step(title, argv, log=LOGS / "kubernetes.log", env=_static(), where=MODULES)
    mark_done(stamp, wanted)


def suite() -> None:
    """.cache/e2e/bin/e2e.test: the External.Storage suite of Kubernetes."""
    stamp, wanted = (
        E2E / "suite.stamp",
        _digest("go.mod", "go.sum", "externalstorage/suite_test.go"),
    )
    if not is_done(stamp, wanted):
        where = ["-o", str(BIN / "e2e.test"), "./externalstorage"]
        argv = [golang.command(), "test", "-c", "-trimpath", "-ldflags", "-s -w", *where]
        title = "building the External.Storage suite (2 minutes; once)"
        step(title, argv, log=LOGS / "suite.log", env=_static(), where=MODULES)
        mark_done(stamp, wanted)


def packages() -> None:
    """.cache/e2e/root: etcd, containerd, runc, CNI plugins, busybox."""
    stamp, wanted = E2E / "packages.stamp", json.dumps(PACKAGES)
    if is_done(stamp, wanted):
        return
    folder, root = E2E / "debs", E2E / "root"
    for made in (folder, root):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    for name, version in PACKAGES.items():
        _download(name, version, folder)
    for package in sorted(folder.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)])
    mark_done(stamp, wanted)


def crds() -> Path:
    """The folder of the snapshot CRDs."""
    return module(CRDS) / "config/crd"


def module(path: str) -> Path:
    """The folder of a Go module, in the version of go.mod."""
    argv = [golang.command(), "mod", "download", "-json", path]
    answer = subprocess.run(
        argv, cwd=MODULES, env=golang.environment(), stdout=subprocess.PIPE, check=False
    )
    found = json.loads(answer.stdout or "{}")
    if "Dir" not in found:
        sys.exit(f"{path}: {found.get('Error', 'no such module')}")
    return Path(found["Dir"])


def _download(name: str, version: str, folder: Path) -> None:
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


def _version_flags() -> str:
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    facts = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in facts.items())


def _static() -> dict[str, str]:
    return {**golang.environment(), "CGO_ENABLED": "0"}


def _digest(*names: str) -> str:
    hashed = hashlib.sha256()
    for name in names:
        hashed.update((MODULES / name).read_bytes())
    return hashed.hexdigest()
