"""The PersistentVolumes of a driver, read from the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from driver.router.kubernetes.api import Api, Json

PATH: Final = "/api/v1/persistentvolumes"
PAGE: Final = 500  # objects in one answer, as client-go has it


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """The fields of a PersistentVolume that the router uses. `namespace`, `claim`: namespace and
    name of the claim to which the PersistentVolume is bound, or was bound last; "": it was never
    bound.
    """

    name: str
    namespace: str
    claim: str


async def persistent_volumes(api: Api, driver: str) -> Mapping[str, PersistentVolume]:
    """Return all PersistentVolumes of the driver `driver`, by the volume's id.

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
