"""Where kubelet looks for drivers, below its own folder (usually /var/lib/kubelet)."""

from __future__ import annotations

from pathlib import Path


def csi_socket(folder: Path, driver: str) -> Path:
    """Return the path of the driver's CSI socket, unless another one is configured. `folder`:
    kubelet's own.
    """
    return folder / "plugins" / driver / "csi.sock"


def registration_socket(folder: Path, driver: str) -> Path:
    """Return the path of the driver's registration socket. `folder`: kubelet's own.

    The name is that of the registrar (node-driver-registrar): kubelet refuses a second socket
    for the same driver.
    """
    return folder / "plugins_registry" / f"{driver}-reg.sock"
