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
from tests.e2e.conftest import APP_IMAGE
from tests.e2e.release import VALUES, Release
from tools import e2e_images
from tools.shell import CACHE, say

HERE: Final = Path(__file__).with_name("suite")
REPORTS: Final = CACHE / "e2e/logs/suite"
PROCESSES: Final = 2
# A mounted ext4 grows with CAP_SYS_RESOURCE only, which not every machine has.
CLASS: Final = {
    "name": "suite",
    # Immediate would give the two claims of one pod to two nodes.
    "volumeBindingMode": "WaitForFirstConsumer",
    "parameters": {"csi.storage.k8s.io/fstype": "xfs"},
}


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
        cluster.up()
        cluster.load([*e2e_images.archives(), APP_IMAGE])
        release.snapshot_controller(Kube(cluster))
    cluster.load(e2e_images.suite_archives())
    one = Release(cluster, Kube(cluster))
    one.install(storageClasses=[*VALUES["storageClasses"], CLASS])
    one.ready()


def _run(cluster: Cluster, words: Sequence[str]) -> int:
    skips = yaml.safe_load((HERE / "skips.yaml").read_text(encoding="utf-8"))
    for one in skips:
        say(f"not run: {one['pattern']}: {one['why']}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    ginkgo = [f"--procs={PROCESSES}", "--no-color", "--timeout=2h", "--flake-attempts=1"]
    chosen = [f"--focus={word}" for word in words] or ["--focus=External.Storage"]
    left_out = [f"--skip={one['pattern']}" for one in skips]
    suite = ["-provider=local", f"-storage.testdriver={HERE / 'driver.yaml'}"]
    nodes = ["-num-nodes=2", "-allowed-not-ready-nodes=0", "-minStartupPods=0"]
    where = [f"-kubeconfig={RUN}/pki/admin.kubeconfig", "-kubectl-path=kubectl"]
    told = ["-node-os-distro=debian", f"-report-dir={RUN}/log/suite"]
    program = str(CACHE / "e2e/bin/e2e.test")
    argv = ["ginkgo", *ginkgo, *chosen, *left_out, program, "--", *suite, *nodes, *where, *told]
    log = REPORTS / "suite.log"
    say(f"running; all of it goes to {log}, too")
    return 0 if cluster.follow(log, *argv) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
