"""The object of an event that a node reports."""

from __future__ import annotations

import asyncio

import pytest

from csi_proto import cellar_pb2 as cellar
from driver.router.kubernetes.api import ApiError, Json
from driver.router.kubernetes.involved_object import find_object

UID = "0c5f5b1e-3f0e-4d5e-9b3a-0123456789ab"


class FakeApi:
    """The API server's PersistentVolumes."""

    def __init__(self, volumes: dict[str, Json] | None = None) -> None:
        self._volumes = volumes or {}

    async def get(self, path: str, **_: str) -> Json:
        name = path.removeprefix("/api/v1/persistentvolumes/")
        if name not in self._volumes:
            raise ApiError("there is none", status=404)
        return self._volumes[name]


def found(event: cellar.Event, volumes: dict[str, Json] | None = None) -> Json | None:
    return asyncio.run(find_object(FakeApi(volumes), event))  # type: ignore[arg-type] # only get


def claim(persistent: str = f"pvc-{UID}") -> cellar.Event:
    return cellar.Event(kind="claim", namespace="shop", name="data", persistent=persistent)


def test_a_claim_without_a_volume_yet_has_the_uid_in_the_name_of_the_volume() -> None:
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "shop",
        "name": "data",
    }
    assert found(claim()) == reference | {"uid": UID}
    assert found(claim("my-volume")) == reference
    assert found(claim("")) == reference


def test_a_volume_that_is_bound_to_another_claim_now_is_that_ones() -> None:
    bound = {"namespace": "other", "name": "restored", "uid": "u-1"}
    reference = found(claim("pv-1"), {"pv-1": {"spec": {"claimRef": bound}}})
    assert reference == {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **bound}


@pytest.mark.parametrize("volume", [{}, {"spec": {}}, {"spec": {"claimRef": {"name": "x"}}}])
def test_a_volume_that_is_bound_to_none_is_its_first_ones(volume: Json) -> None:
    reference = found(claim("pv-1"), {"pv-1": volume})
    assert reference
    assert reference["name"] == "data"


def test_a_pod_and_a_snapshot_have_their_uids() -> None:
    pod = cellar.Event(kind="pod", namespace="shop", name="web-0", persistent=UID)
    snapshot = cellar.Event(
        kind="volumesnapshot", namespace="shop", name="nightly", persistent=f"snapcontent-{UID}"
    )
    group = cellar.Event(
        kind="volumegroupsnapshot", namespace="shop", name="both", persistent=f"content-{UID}"
    )
    references = [found(pod), found(snapshot), found(group)]
    assert [reference and reference["kind"] for reference in references] == [
        "Pod",
        "VolumeSnapshot",
        "VolumeGroupSnapshot",
    ]
    assert all(reference and reference["uid"] == UID for reference in references)


@pytest.mark.parametrize(
    "event", [cellar.Event(), cellar.Event(kind="claim"), cellar.Event(kind="new", name="x")]
)
def test_what_has_no_object_is_the_nodes(event: cellar.Event) -> None:
    assert found(event) is None
