"""Where kubelet looks for drivers, below its own folder (usually /var/lib/kubelet)."""

from __future__ import annotations

from pathlib import Path


def csi_socket(folder: Path, driver: str) -> Path:
    """The driver's own socket, where nobody said another place."""
    return folder / "plugins" / driver / "csi.sock"


def registration_socket(folder: Path, driver: str) -> Path:
    """The registrar's own name for it: kubelet refuses a second socket for the same driver."""
    return folder / "plugins_registry" / f"{driver}-reg.sock"
