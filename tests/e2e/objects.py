"""The Kubernetes objects of the tests, as short as they can be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

Object: TypeAlias = dict[str, Any]

IMAGE: Final = "localhost/busybox:e2e"
ENDLESS: Final = "sleep 1000000 & trap 'exit 0' TERM; wait"
# A line a moment, each synced; the first error ends it.
WRITER: Final = (
    "set -e; trap 'exit 0' TERM; i=$(cat /data/n 2>/dev/null || echo 0);"
    " while :; do i=$((i+1)); echo $i >> /data/log; echo $i > /data/n; sync /data/log; sleep 0.2; done"
)


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def claim(
    name: str,
    space: str,
    *,
    size: str = "64Mi",
    of: str = "cellar",
    access: str = "ReadWriteOnce",
    **more: Any,
) -> Object:
    """A PersistentVolumeClaim; `more` goes into its spec (volumeMode, dataSource, ...)."""
    spec = {
        "storageClassName": of,
        "accessModes": [access],
        "resources": {"requests": {"storage": size}},
        **more,
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": space},
        "spec": spec,
    }


def pod(
    name: str,
    space: str,
    claims: Mapping[str, str],
    *,
    script: str = ENDLESS,
    node: str = "",
    **more: Any,
) -> Object:
    """A pod with claims at these paths, or as these devices below /dev; `more` goes into its spec."""
    devices = {one: path for one, path in claims.items() if path.startswith("/dev/")}
    volumes = [
        {"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims
    ] + more.pop("volumes", [])
    mounts = [
        {"name": one, "mountPath": path} for one, path in claims.items() if one not in devices
    ] + more.pop("mounts", [])
    container = {
        "name": "c",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "volumeMounts": mounts,
        "volumeDevices": [{"name": one, "devicePath": path} for one, path in devices.items()],
    }
    spec: Object = {
        "terminationGracePeriodSeconds": 1,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": volumes,
        **more,
    }
    if node:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    metadata = {"name": name, "namespace": space, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def snapshot(name: str, space: str, of: str) -> Object:
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "volumeSnapshotClassName": "cellar",
            "source": {"persistentVolumeClaimName": of},
        },
    }


def group_snapshot(name: str, space: str, labels: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "groupsnapshot.storage.k8s.io/v1",
        "kind": "VolumeGroupSnapshot",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "volumeGroupSnapshotClassName": "cellar",
            "source": {"selector": {"matchLabels": dict(labels)}},
        },
    }


def from_snapshot(name: str) -> Object:
    return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}


def from_claim(name: str) -> Object:
    return {"kind": "PersistentVolumeClaim", "name": name}


def inline(name: str, fs: str = "ext4", **attributes: str) -> Sequence[Object]:
    """The volumes of a pod with one that stands in it."""
    source = {"driver": "cellar.csi.internal", "fsType": fs, "volumeAttributes": attributes}
    return [{"name": name, "csi": source}]


def ephemeral(name: str, size: str = "64Mi", of: str = "cellar") -> Sequence[Object]:
    """The volumes of a pod with a claim that lives as long as it."""
    spec = {
        "storageClassName": of,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    }
    return [{"name": name, "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]
