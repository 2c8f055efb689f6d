"""What matters of the objects of Kubernetes: each read once, from JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from driver.router.kubernetes.api import Json
from driver.router.nodes.directory import NodeName

OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"  # an admin vouches: it is shut down
PORT: Final = "cellar"


@dataclass(frozen=True, slots=True)
class Node:
    """The part of a Node object that matters here."""

    uid: str
    cordoned: bool
    out_of_service: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The part of an endpoint that matters here."""

    node: NodeName
    address: str | None  # HOST:PORT; None: not ready


def node(one: Json) -> Node:
    """Return what matters of a Node object."""
    spec = one.get("spec") or {}
    taints = {taint.get("key") for taint in spec.get("taints") or ()}
    uid = str(one["metadata"].get("uid", ""))
    return Node(uid, spec.get("unschedulable") is True, OUT_OF_SERVICE in taints)


def drivers(one: Json) -> frozenset[str]:
    """Return the names of the drivers that a CSINode lists: those that are registered with
    kubelet.
    """
    return frozenset(each["name"] for each in (one.get("spec") or {}).get("drivers") or ())


def endpoints(one: Json) -> tuple[Endpoint, ...]:
    """Return the endpoints of an EndpointSlice.

    One without a `ready` condition counts as ready (API, EndpointConditions).
    """
    port = _port(one)
    return tuple(
        Endpoint(each["nodeName"], _address(each, port))
        for each in one.get("endpoints") or ()
        if each.get("nodeName")
    )


def _port(one: Json) -> int | None:
    """Return the port of our name, else the first, or None if there is none."""
    ports = [each for each in one.get("ports") or () if each.get("port")]
    ours = [each for each in ports if each.get("name") == PORT]
    return int((ours or ports)[0]["port"]) if ports else None


def _address(endpoint: Json, port: int | None) -> str | None:
    ready = (endpoint.get("conditions") or {}).get("ready")
    addresses = endpoint.get("addresses") or ()
    if ready is False or not addresses or port is None:
        return None
    host = addresses[0]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
