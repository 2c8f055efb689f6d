"""The fields of Kubernetes objects that the router uses, parsed from JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from driver.router.kubernetes.api import Json
from driver.router.nodes.directory import NodeName

OUT_OF_SERVICE: Final = (
    "node.kubernetes.io/out-of-service"  # set by an administrator: the node is shut down
)
PORT: Final = "cellar"


@dataclass(frozen=True, slots=True)
class Node:
    """The fields of a Node object that the router uses. `cordoned`: it takes no new pods;
    `out_of_service`: it has the taint node.kubernetes.io/out-of-service.
    """

    uid: str
    cordoned: bool
    out_of_service: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The fields of an endpoint in an EndpointSlice that the router uses. `address`: None if the
    endpoint is not ready.
    """

    node: NodeName
    address: str | None  # HOST:PORT; None: not ready


def node(item: Json) -> Node:
    """Parse a Node object."""
    spec = item.get("spec") or {}
    taints = {taint.get("key") for taint in spec.get("taints") or ()}
    uid = str(item["metadata"].get("uid", ""))
    return Node(uid, spec.get("unschedulable") is True, OUT_OF_SERVICE in taints)


def drivers(item: Json) -> frozenset[str]:
    """Return the names of the drivers in a CSINode, which are registered with the node's
    kubelet.
    """
    return frozenset(driver["name"] for driver in (item.get("spec") or {}).get("drivers") or ())


def endpoints(item: Json) -> tuple[Endpoint, ...]:
    """Return the endpoints of an EndpointSlice.

    An endpoint without a `ready` condition counts as ready (API, EndpointConditions).
    """
    port = _port(item)
    return tuple(
        Endpoint(endpoint["nodeName"], _address(endpoint, port))
        for endpoint in item.get("endpoints") or ()
        if endpoint.get("nodeName")
    )


def _port(item: Json) -> int | None:
    """Return the port of our name, else the first, or None if there is none."""
    ports = [port for port in item.get("ports") or () if port.get("port")]
    ours = [port for port in ports if port.get("name") == PORT]
    return int((ours or ports)[0]["port"]) if ports else None


def _address(endpoint: Json, port: int | None) -> str | None:
    ready = (endpoint.get("conditions") or {}).get("ready")
    addresses = endpoint.get("addresses") or ()
    if ready is False or not addresses or port is None:
        return None
    host = addresses[0]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
