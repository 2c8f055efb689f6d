"""Parses socket paths, addresses and folders, and names the sockets in kubelet's folder.

The parsers raise ValueError if a text has no valid form.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Final

SOCKET_LENGTH: Final = 107  # sun_path of <linux/un.h> has 108 bytes with its NUL


def parse_endpoint(value: object) -> Path:
    """Return the path of a Unix socket, given as `unix:///PATH`, `unix:/PATH` or `/PATH`.

    Raises: ValueError: it has none of these forms, or is too long.
    """
    text = str(value)
    path = re.sub("^/+", "/", text.removeprefix("unix:"))
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{text!r} is not a Unix socket; write unix:///PATH")
    return check_socket(Path(path))


def check_socket(path: Path) -> Path:
    """Return `path` unchanged. Raises: ValueError: it is longer than the 107 bytes that the path of
    a Unix socket may have (<linux/un.h>).
    """
    if len(os.fsencode(path)) > SOCKET_LENGTH:
        raise ValueError(
            f"the path {path} has more than {SOCKET_LENGTH} bytes, which no socket may have"
        )
    return path


def check_folder(path: Path | None) -> Path | None:
    """Return `path`, which may be None, unchanged. Raises: ValueError: it is not absolute."""
    if path and not path.is_absolute():
        raise ValueError(f"'{path}' is not an absolute path")
    return path


def parse_address(value: object) -> tuple[str, int] | None:
    """Return the host and port in HOST:PORT; None if `value` is empty. `:PORT` means all IPv4
    addresses.

    Raises: ValueError: it has another form.
    """
    if value in {None, ""}:
        return None
    host, colon, port = str(value).rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT, as in 127.0.0.1:9100 or [::]:9100")
    if host.startswith("["):
        return str(ipaddress.IPv6Address(host.strip("[]"))), int(port)
    return host or "0.0.0.0", int(port)  # noqa: S104 - what ":9100" means everywhere


def csi_socket(folder: Path, driver: str) -> Path:
    """Return the default path of the driver's CSI socket. `folder`: kubelet's directory."""
    return folder / "plugins" / driver / "csi.sock"


def registration_socket(folder: Path, driver: str) -> Path:
    """Return the path of the driver's registration socket. `folder`: kubelet's directory.

    Its name is the one that node-driver-registrar uses: kubelet refuses a second socket for the
    same driver.
    """
    return folder / "plugins_registry" / f"{driver}-reg.sock"


def default_state_dir() -> Path:
    """Return the default state directory: below /var/lib for root (FHS), else in the user's home
    (XDG).
    """
    if os.geteuid() == 0:
        return Path("/var/lib/cellar")
    folder = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (folder if folder.is_absolute() else Path.home() / ".local/state") / "cellar"
