"""Something that goes wrong on a machine, and the drivers and volumes to which it happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.client import Csi
from tests.support.disks import MIB
from tests.support.node import Life, Node
from tests.support.ports import free_port, listens
from tests.support.waiting import wait_until


@dataclass
class Trouble:
    """Something that goes wrong. `targets`: the label `node` of each page of metrics, by port."""

    targets: Mapping[int, str]
    cause: Callable[[], object]
    mend: Callable[[], object]


def serve(node: Node, *pools: str, options: tuple[str, ...] = ()) -> tuple[Csi, int]:
    """Start a driver. Returns its client, and the port of its metrics."""
    port = free_port()
    csi = node.start(*pools, options=["--metrics", f"127.0.0.1:{port}", *options])
    wait_until(lambda: listens(port))
    return csi, port


def claim(csi: Csi, name: str, size: int = 64 * MIB, **how: Any) -> str:
    """Create a volume as the provisioner does, for the claim shop/`name`. Returns its id."""
    names = {"pvc/name": name, "pvc/namespace": "shop", "pv/name": f"pv-{name}"}
    given = {f"csi.storage.k8s.io/{key}": value for key, value in names.items()}
    parameters = {**given, **how.pop("parameters", {})}
    return str(csi.create(name, size, parameters=parameters, **how).volume_id)


def life(node: Node, csi: Csi, name: str, size: int = 64 * MIB, **how: Any) -> Life:
    """Create a volume for the claim shop/`name`, and mount it."""
    parameters = how.pop("parameters", {})
    volume = node.life(csi, claim(csi, name, size, parameters=parameters, **how), **how)
    volume.up()
    return volume
