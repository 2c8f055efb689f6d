"""The PersistentVolumes of a driver, read page by page."""

from __future__ import annotations

import asyncio
from typing import Any

from driver.router.kubernetes.api import Json
from driver.router.kubernetes.persistent_volumes import PersistentVolume, persistent_volumes

DRIVER = "cellar.csi.internal"


def persistent_volume(name: str, handle: str, *, driver: str = DRIVER, claim: str = "") -> Json:
    spec: dict[str, Any] = {"csi": {"driver": driver, "volumeHandle": handle}}
    if claim:
        namespace, _, claim_name = claim.partition("/")
        spec["claimRef"] = {"namespace": namespace, "name": claim_name, "uid": "u-1"}
    return {"metadata": {"name": name}, "spec": spec}


class Pages:
    """An API server that answers with one object at a time."""

    def __init__(self, *items: Json) -> None:
        self._items = items

    async def get(self, path: str, **query: str) -> Json:
        assert path == "/api/v1/persistentvolumes"
        assert int(query["limit"]) > 1
        at = int(query.get("continue", 0))
        metadata = {"continue": str(at + 1)} if at + 1 < len(self._items) else {}
        return {"metadata": metadata, "items": list(self._items[at : at + 1]) or None}


def known(*items: Json) -> dict[str, PersistentVolume]:
    return dict(asyncio.run(persistent_volumes(Pages(*items), DRIVER)))  # type: ignore[arg-type] # only get


def test_all_pages_are_read() -> None:
    items = [persistent_volume(f"pv-{number}", f"v-{number}") for number in range(3)]
    assert known(*items) == {
        f"v-{number}": PersistentVolume(f"pv-{number}", "", "") for number in range(3)
    }
    assert known() == {}


def test_a_volume_has_the_claim_to_which_it_is_bound() -> None:
    bound = persistent_volume("pv", "v", claim="shop/data")
    assert known(bound) == {"v": PersistentVolume("pv", "shop", "data")}


def test_those_of_other_drivers_and_kinds_are_left_out() -> None:
    other = persistent_volume("pv", "v", driver="other.driver")
    assert known(other, {"metadata": {"name": "nfs"}, "spec": {"nfs": {"server": "a"}}}) == {}
