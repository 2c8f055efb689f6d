"""The PersistentVolumes of a driver, as the API server has them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from driver.router.kubernetes.api import Api, Json

PATH: Final = "/api/v1/persistentvolumes"
PAGE: Final = 500  # objects in one answer, as client-go has it


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """The parts of a PersistentVolume that are used. `namespace`, `claim`: of the claim to which it
    is bound, or was bound last; "": it was bound to none.
    """

    name: str
    namespace: str
    claim: str


async def persistent_volumes(api: Api, driver: str) -> Mapping[str, PersistentVolume]:
    """Return all PersistentVolumes of the driver of this name, by the id of their volume.

    Raises: ApiError.
    """
    known: dict[str, PersistentVolume] = {}
    query = {"limit": str(PAGE)}
    while True:
        page = await api.get(PATH, **query)
        for item in page.get("items") or ():
            source = (item.get("spec") or {}).get("csi") or {}
            if source.get("driver") == driver:
                known[str(source.get("volumeHandle"))] = _parse(item)
        token = page["metadata"].get("continue")
        if not token:
            return known
        query["continue"] = str(token)


def _parse(item: Json) -> PersistentVolume:
    claim = item["spec"].get("claimRef") or {}
    return PersistentVolume(
        str(item["metadata"]["name"]), str(claim.get("namespace", "")), str(claim.get("name", ""))
    )
