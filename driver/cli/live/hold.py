"""`cellar hold` and `cellar release`: forbid and allow that a volume is deleted."""

from __future__ import annotations

from csi_proto import cellar_pb2 as cellar
from driver.cli.connection import Endpoint, connected
from driver.cli.lists.describe import Reference, find_id
from driver.cli.output import console


def hold(reference: Reference, endpoint: Endpoint = "") -> None:
    """Hold a volume: until it is released, every call to delete it answers FAILED_PRECONDITION."""
    _set(reference, endpoint, held=True)


def release(reference: Reference, endpoint: Endpoint = "") -> None:
    """Release a volume that is held, so that it can be deleted again."""
    _set(reference, endpoint, held=False)


def _set(reference: str, endpoint: str, *, held: bool) -> None:
    with connected(endpoint) as client:
        volume_id = find_id(client, reference)
        request = cellar.SetHoldRequest(volume_id=volume_id, held=held)
        client.call(client.peer.SetHold, request)
    text = "is held: no call can delete it" if held else "is not held: it can be deleted"
    console().print(f"{volume_id} {text}", soft_wrap=True)
