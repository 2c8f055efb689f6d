"""Another driver in the cluster to compare with: csi-driver-host-path, with the same sidecars.

Its programs are built elsewhere: PEER names a folder with `hostpathplugin` and
`csi-node-driver-registrar`, static programs of this machine's kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.e2e import objects
from tests.e2e.cluster import Kube
from tools.e2e_images import HOST_PATH, REGISTRAR, SIDECARS

NAME: Final = "hostpath.csi.k8s.io"
CLASS: Final = "host-path"
SPACE: Final = "host-path"
PROGRAMS: Final = ("hostpathplugin", "csi-node-driver-registrar")
_FOLDERS: Final = {
    "socket": (f"/var/lib/kubelet/plugins/{NAME}", "DirectoryOrCreate"),
    "registry": ("/var/lib/kubelet/plugins_registry", "Directory"),
    "kubelet": ("/var/lib/kubelet", "Directory"),
    "data": ("/var/lib/host-path", "DirectoryOrCreate"),
    "dev": ("/dev", "Directory"),
}
_PROVISIONER: Final = (  # as the chart has them, with what is told by tests/e2e/release.py
    *("--immediate-topology=false", "--extra-create-metadata", "--default-fstype=ext4"),
    *("--feature-gates=Topology=true", "--retry-interval-max=10s", "--v=4"),
)
_ATTACHER: Final = ("--retry-interval-max=10s", "--reconcile-sync=10s", "--v=4")


def check(folder: Path) -> None:
    """Check that the programs are there. Raises: SystemExit, with what is missing."""
    if missing := [name for name in PROGRAMS if not (folder / name).is_file()]:
        raise SystemExit(f"PEER={folder}: it has no {' and no '.join(missing)}")


def install(kube: Kube, node: str) -> None:
    """Install the driver with its sidecars on one node, and wait until kubelet has registered it."""
    kube.apply(*peer_objects(node))

    def registered() -> bool:
        csinode = kube.get("csinode", node) or {}
        return any(each["name"] == NAME for each in csinode["spec"].get("drivers") or [])

    kube.until(registered, f"{node} has {NAME}", 120)
    kube("-n", SPACE, "rollout", "status", "deployment/host-path", "--timeout=110s")


def uninstall(kube: Kube) -> None:
    """Remove the driver. Its volumes must be gone."""
    for each in reversed(peer_objects("")):
        kube.delete(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace", ""))


def peer_objects(node: str) -> list[objects.Object]:
    """Return all objects, in the order in which they are made. `node`: where the driver runs."""
    driver = {"volumeLifecycleModes": ["Persistent"], "attachRequired": True}
    account = {"kind": "ServiceAccount", "name": "host-path", "namespace": SPACE}
    return [
        objects.namespace(SPACE),
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": NAME},
            "spec": {**driver, "podInfoOnMount": True, "fsGroupPolicy": "File"},
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": CLASS},
            "provisioner": NAME,
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "host-path", "namespace": SPACE},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "host-path"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [account],
        },
        _deployment(node),
    ]


def _deployment(node: str) -> objects.Object:
    socket = f"/var/lib/kubelet/plugins/{NAME}/csi.sock"
    plugin = ["--endpoint=unix:///csi/csi.sock", "--nodeid=$(NODE)", "--statedir=/data"]
    registrar = ["--csi-address=/csi/csi.sock", f"--kubelet-registration-path={socket}"]
    spec = {
        "serviceAccountName": "host-path",
        "nodeSelector": {"kubernetes.io/hostname": node},
        "terminationGracePeriodSeconds": 1,
        "containers": [
            _container("driver", HOST_PATH, [f"--drivername={NAME}", *plugin], privileged=True),
            _container("registrar", REGISTRAR, registrar),
            _sidecar("csi-provisioner", _PROVISIONER),
            _sidecar("csi-attacher", _ATTACHER),
        ],
        "volumes": [
            {"name": name, "hostPath": {"path": path, "type": kind}}
            for name, (path, kind) in _FOLDERS.items()
        ],
    }
    labels = {"app": "host-path"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "host-path", "namespace": SPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _sidecar(name: str, arguments: tuple[str, ...]) -> objects.Object:
    image = f"registry.k8s.io/sig-storage/{name}:{SIDECARS[name]}"
    election = ["--leader-election", f"--leader-election-namespace={SPACE}"]
    words = ["--csi-address=/csi/csi.sock", "--timeout=60s", *election, *arguments]
    return _container(name, image, words)


def _container(
    name: str, image: str, arguments: list[str], *, privileged: bool = False
) -> objects.Object:
    mounts: list[Any] = [{"name": "socket", "mountPath": "/csi"}]
    if name == "registrar":
        mounts += [{"name": "registry", "mountPath": "/registration"}]
    if privileged:
        both = {"mountPath": "/var/lib/kubelet", "mountPropagation": "Bidirectional"}
        mounts += [{"name": "kubelet", **both}]
        mounts += [{"name": "data", "mountPath": "/data"}, {"name": "dev", "mountPath": "/dev"}]
    fields = {"NODE": "spec.nodeName", "NAMESPACE": "metadata.namespace"}
    fields["POD_NAME"] = "metadata.name"
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "args": arguments,
        "env": [
            {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for variable, path in fields.items()
        ],
        "securityContext": {"privileged": privileged},
        "volumeMounts": mounts,
    }
