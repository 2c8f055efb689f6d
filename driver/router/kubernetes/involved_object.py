"""Finds the object of an Event that a node reports: a claim, a pod or a snapshot."""

from __future__ import annotations

import re
from typing import Final

from csi_proto import cellar_pb2 as cellar
from driver.core.model import ObjectKind
from driver.router.kubernetes.api import Api, ApiError, Json

_KINDS: Final = {
    ObjectKind.CLAIM: ("v1", "PersistentVolumeClaim"),
    ObjectKind.POD: ("v1", "Pod"),
    ObjectKind.SNAPSHOT: ("snapshot.storage.k8s.io/v1", "VolumeSnapshot"),
    ObjectKind.GROUP_SNAPSHOT: ("groupsnapshot.storage.k8s.io/v1", "VolumeGroupSnapshot"),
}
# The sidecars call an image PREFIX-UID, with the uid of the claim or VolumeSnapshot.
_UID: Final = re.compile(r"(?:.*-)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


async def find_object(api: Api, event: cellar.Event) -> Json | None:
    """Return the reference to the object of an event that a node reports; None: the event concerns
    the node itself.

    For a volume the object is the claim to which the PersistentVolume is bound now, if that can be
    read. The reference contains the claim's uid, because `kubectl describe` finds Events by that.
    """
    try:
        kind = ObjectKind(event.kind)
    except ValueError:
        return None
    if not (event.namespace and event.name):
        return None
    version, name = _KINDS[kind]
    reference = {"apiVersion": version, "kind": name}
    if kind is ObjectKind.CLAIM and (bound := await _bound_claim(api, event.persistent)):
        return reference | bound
    reference |= {"namespace": event.namespace, "name": event.name}
    if match := _UID.fullmatch(event.persistent):
        reference["uid"] = match[1]
    return reference


async def _bound_claim(api: Api, persistent: str) -> dict[str, str] | None:
    """Return namespace, name and uid of the claim to which a PersistentVolume is bound; None: it
    is bound to none, does not exist (yet), or cannot be read.
    """
    if not persistent:
        return None
    try:
        volume = await api.get(f"/api/v1/persistentvolumes/{persistent}")
    except ApiError:
        return None
    claim = (volume.get("spec") or {}).get("claimRef") or {}
    keys = ("namespace", "name", "uid")
    return {key: str(claim[key]) for key in keys} if all(map(claim.get, keys)) else None
