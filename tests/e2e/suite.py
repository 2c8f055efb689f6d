"""The Kubernetes project's own External.Storage suite, on the cluster of `make e2e`: `make e2e-suite`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from tests.e2e import release
from tests.e2e.cluster import RUN, Cluster, Kube
from tests.e2e.release import VALUES, Release
from tools import e2e_images, e2e_parts
from tools.shell import CACHE, say

HERE: Final = Path(__file__).with_name("suite")
REPORTS: Final = CACHE / "e2e/logs/suite"
PROCESSES: Final = 2
# A mounted ext4 grows with CAP_SYS_RESOURCE only, which not every machine has.
_XFS: Final = {"csi.storage.k8s.io/fstype": "xfs"}
# Claims wait for their pods: else the two of one pod might end on two nodes.
WAITS: Final = "suite"
# For specs that change a claim which no pod has, and expect that it happens.
NOW: Final = "suite-now"
UNUSED: Final = "volume-modify-stress"
CLASSES: Final = (
    {"name": WAITS, "parameters": _XFS},
    {"name": NOW, "volumeBindingMode": "Immediate", "parameters": _XFS},
)


def main(arguments: Sequence[str]) -> int:
    """Words become patterns that a spec's name must contain."""
    os.environ.setdefault("POOL_SIZE", "60G")  # sparse
    cluster = Cluster()
    try:
        _prepare(cluster)
        return _run(cluster, arguments)
    finally:
        if not release.keep_going():
            cluster.wipe()


def _prepare(cluster: Cluster) -> None:
    if not (release.keep_going() and cluster.is_up()):
        cluster.wipe()
        release.bring_up(cluster)
    cluster.load(e2e_images.suite_archives())
    one = Release(cluster, Kube(cluster))
    one.install(storageClasses=[*VALUES["storageClasses"], *CLASSES])
    one.ready()


def _run(cluster: Cluster, words: Sequence[str]) -> int:
    skips = yaml.safe_load((HERE / "skips.yaml").read_text(encoding="utf-8"))
    for one in skips:
        say(f"not run: {one['pattern']}: {one['why']}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    skipped = [one["pattern"] for one in skips]
    good = _specs(cluster, WAITS, words or ["External.Storage"], [*skipped, UNUSED])
    if not words or any(word in UNUSED for word in words):
        good = _specs(cluster, NOW, [UNUSED], skipped) and good
    return 0 if good else 1


def _specs(cluster: Cluster, storage: str, chosen: Sequence[str], skipped: Sequence[str]) -> bool:
    """Those of the suite that match, with that storage class. True: none failed."""
    ginkgo = [f"--procs={PROCESSES}", "--no-color", "--timeout=2h", "--flake-attempts=1"]
    which = [*(f"--focus={one}" for one in chosen), *(f"--skip={one}" for one in skipped)]
    suite = ["-provider=local", f"-storage.testdriver={_definition(storage)}"]
    nodes = ["-num-nodes=2", "-allowed-not-ready-nodes=0", "-minStartupPods=0"]
    where = [f"-kubeconfig={RUN}/pki/admin.kubeconfig", "-kubectl-path=kubectl"]
    told = ["-node-os-distro=debian", f"-report-dir={RUN}/log/{storage}"]
    program = str(e2e_parts.programs(e2e_parts.chosen()) / "e2e.test")
    log = REPORTS / f"{storage}.log"
    say(f"with class {storage}; all that it says goes to {log}, too")
    argv = ["ginkgo", *ginkgo, *which, program, "--", *suite, *nodes, *where, *told]
    return cluster.follow(log, *argv)


def _definition(storage: str) -> Path:
    """driver.yaml with that storage class."""
    driver = yaml.safe_load((HERE / "driver.yaml").read_text(encoding="utf-8"))
    driver["StorageClass"] = {"FromExistingClassName": storage}
    (file := RUN / f"{storage}.yaml").write_text(yaml.safe_dump(driver), encoding="utf-8")
    return file


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
