"""The chart in the cluster: what it is told here, and waiting until all of it works."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from tests.e2e.cluster import Cluster, CommandError, Kube
from tools import e2e_images, e2e_parts
from tools.e2e import ARCHIVE

ROOT: Final = Path(__file__).parents[2]
SPACE: Final = "cellar-system"
DRIVER: Final = "cellar.csi.internal"
NODES: Final = ("node-1", "node-2")
POOL: Final = "/var/lib/cellar/pools/fast"
IMAGE: Final = "localhost/cellar"
GONE_AFTER: Final = 20  # seconds; 15 minutes by default

Values: TypeAlias = Mapping[str, Any]

_HASTY: Final = [
    "--retry-interval-max=10s"
]  # not 5 minutes until a node that is back is asked again
VALUES: Final[Values] = {
    "image": {"repository": IMAGE, "pullPolicy": "Never"},
    "pools": [{"name": "fast", "type": "loopfile", "where": POOL}],
    "node": {"nodeSelector": {"cellar": "yes"}},
    "csiDriver": {"volumeLifecycleModes": ["Persistent", "Ephemeral"]},
    "nodeGone": {"after": f"{GONE_AFTER}s", "policy": "forget"},
    "log": {"level": "debug", "format": "text"},
    "sidecars": {
        "provisioner": {"extraArgs": [*_HASTY, "--capacity-poll-interval=5s", "--v=4"]},
        "attacher": {"extraArgs": [*_HASTY, "--reconcile-sync=10s", "--v=4"]},
        "resizer": {"extraArgs": [*_HASTY, "--v=4"]},
        "snapshotter": {"extraArgs": [*_HASTY, "--v=4"]},
    },
    "storageClasses": [
        {"name": "cellar"},
        {"name": "cellar-now", "volumeBindingMode": "Immediate"},
        {"name": "cellar-xfs", "parameters": {"csi.storage.k8s.io/fstype": "xfs"}},
    ],
    "attributesClasses": [
        {"name": "free", "parameters": {"writeBps": "0"}},
        {"name": "slow", "parameters": {"writeBps": "4Mi"}},
    ],
    "ioLimits": {"enabled": True},
}


class Release:
    def __init__(self, cluster: Cluster, kube: Kube) -> None:
        self.cluster = cluster
        self.kube = kube

    def install(self, **changed: Any) -> None:
        """Install or upgrade, and wait until the controllers are ready."""
        words = ["upgrade", "--install", "cellar", str(ROOT / "charts/cellar")]
        where = ["--namespace", SPACE, "--create-namespace", "--values", "-"]
        told = yaml.safe_dump({**VALUES, **changed})
        self.cluster.run("helm", *words, *where, stdin=told)
        self.rolled_out("deployment/cellar-controller")

    def uninstall(self) -> None:
        self.cluster.run("helm", "uninstall", "cellar", "--namespace", SPACE, "--wait")

    def is_there(self) -> bool:
        return bool(self.kube.get("deployment", "cellar-controller", SPACE))

    def rolled_out(self, what: str, seconds: int = 110) -> None:
        try:
            self.kube("-n", SPACE, "rollout", "status", what, f"--timeout={seconds}s")
        except CommandError as error:
            told = self.kube("-n", SPACE, "get", "pods", "-o", "wide")
            raise AssertionError(f"{error}\n{told}") from None

    def has_pools(self, node: str) -> None:
        """Label a node, so that it gets a driver; until that driver is registered and ready."""
        self.kube("label", "node", node, "cellar=yes", "--overwrite")
        self.kube.until(lambda: self.registered(node), f"{node} has the driver", 120)
        self.kube.until(lambda: self.is_ready(node), f"the driver of {node} is ready")

    def registered(self, node: str) -> bool:
        found = self.kube.get("csinode", node)
        drivers = (found or {}).get("spec", {}).get("drivers") or []
        return any(one["name"] == DRIVER for one in drivers)

    def driver_pod(self, node: str) -> Any | None:
        """Of the DaemonSet, the one that is not on its way out."""
        pods = self.kube.every("pods", SPACE, "app.kubernetes.io/component=node")
        mine = [one for one in pods if one["spec"].get("nodeName") == node]
        return next((one for one in mine if not one["metadata"].get("deletionTimestamp")), None)

    def inline_volumes(self, node: str) -> list[Any]:
        """Those of pods on that node, as its driver shows them."""
        pod = self.driver_pod(node)
        assert pod, node
        asked = ("exec", pod["metadata"]["name"], "--", "cellar", "volumes", "-o", "json")
        return [one for one in json.loads(self.kube("-n", SPACE, *asked)) if one["inline"]]

    def is_ready(self, node: str) -> bool:
        pod = self.driver_pod(node)
        statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
        return all(one.get("ready") for one in statuses)

    def room(self, storage_class: str = "cellar") -> dict[str, int]:
        """Bytes for each node, as the scheduler sees them."""
        found = {}
        for one in self.kube.every("csistoragecapacities", SPACE):
            if one["storageClassName"] == storage_class:
                node = one["nodeTopology"]["matchLabels"][f"{DRIVER}/node"]
                found[node] = _bytes(one.get("capacity", "0"))
        return found

    def restarts(self) -> dict[str, int]:
        """Of every container of the controllers, by pod and name."""
        return {
            f"{pod['metadata']['name']}/{one['name']}": one["restartCount"]
            for pod in self.kube.every("pods", SPACE, "app.kubernetes.io/component=controller")
            for one in pod["status"].get("containerStatuses", ())
        }

    def ready(self) -> None:
        """Installed, both nodes with their disks; costs little when it is so already."""
        if not self.is_there():
            self.install()
        for number, node in enumerate(NODES, 1):
            self.cluster.mount_disk(number)
            self.has_pools(node)
        self.kube.until(
            lambda: all(self.room().get(node, 0) > 0 for node in NODES), "room on both nodes"
        )


def version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def bring_up(cluster: Cluster) -> None:
    """Two nodes with all images and the snapshot controller; no driver yet."""
    cluster.up()
    cluster.load([*e2e_images.archives(), ARCHIVE])
    _snapshot_controller(Kube(cluster))


def _snapshot_controller(kube: Kube) -> None:
    """The CRDs and the cluster's own controller: every distribution has them, no driver brings them."""
    folder = e2e_parts.module("github.com/kubernetes-csi/external-snapshotter/v8")
    home = folder / "deploy/kubernetes/snapshot-controller"
    objects = [_load(path) for path in sorted(e2e_parts.crds().glob("*.k8s.io_*.yaml"))]
    kube("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    kube("apply", "-f", str(home / "rbac-snapshot-controller.yaml"))
    deployment = _load(home / "setup-snapshot-controller.yaml")
    spec = deployment["spec"]
    spec.update(replicas=1, minReadySeconds=0)
    # not where a test cuts the power
    spec["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": NODES[0]}
    container = spec["template"]["spec"]["containers"][0]
    container["image"] = e2e_images.SNAPSHOT_CONTROLLER
    container["imagePullPolicy"] = "Never"
    container["args"] += ["--feature-gates=CSIVolumeGroupSnapshot=true"]
    kube.apply(deployment)


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _bytes(quantity: str) -> int:
    for unit, power in (("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)):
        if quantity.endswith(unit):
            return int(quantity.removesuffix(unit)) << power
    return int(json.loads(quantity.replace("k", "e3").replace("M", "e6").replace("G", "e9")))


def keep_going() -> bool:
    """KEEP=1: the cluster stays up, and the next run begins with it."""
    return os.environ.get("KEEP", "") not in {"", "0"}
