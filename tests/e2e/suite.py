"""The Kubernetes project's own External.Storage suite, on the cluster of `make e2e`: `make e2e-suite`."""

from __future__ import annotations

import os
import shutil
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
CLASSES: Final = ({"name": WAITS, "parameters": _XFS},)


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
    return 0 if _specs(cluster, words or ["External.Storage"], skipped) else 1


def _specs(cluster: Cluster, chosen: Sequence[str], skipped: Sequence[str]) -> bool:
    """Those of the suite that match. True: some ran, and none failed."""
    ginkgo = [f"--procs={PROCESSES}", "--no-color", "--timeout=2h", "--flake-attempts=1"]
    ginkgo += ["--fail-on-empty"]
    which = [*(f"--focus={one}" for one in chosen), *(f"--skip={one}" for one in skipped)]
    suite = ["-provider=local", f"-storage.testdriver={_definition()}"]
    nodes = ["-num-nodes=2", "-allowed-not-ready-nodes=0", "-minStartupPods=0"]
    where = [f"-kubeconfig={RUN}/pki/admin.kubeconfig", "-kubectl-path=kubectl"]
    told = ["-node-os-distro=debian", f"-report-dir={RUN}/log/{WAITS}"]
    program = str(e2e_parts.programs(e2e_parts.chosen()) / "e2e.test")
    log = REPORTS / f"{WAITS}.log"
    say(f"all that it says goes to {log}, too")
    argv = ["ginkgo", *ginkgo, *which, program, "--", *suite, *nodes, *where, *told]
    return cluster.follow(log, *argv)


def _definition() -> Path:
    """A copy of driver.yaml where the node has it."""
    return Path(shutil.copy(HERE / "driver.yaml", RUN / "suite.yaml"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
