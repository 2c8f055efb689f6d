"""Where something listens: the grammar of sockets, addresses and folders. ValueError."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Final

SOCKET_LENGTH: Final = 107  # sun_path of <linux/un.h> has 108 bytes with its NUL


def parse_endpoint(value: object) -> Path:
    text = str(value)
    path = re.sub("^/+", "/", text.removeprefix("unix:"))
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{text!r} is not a Unix socket; write unix:///PATH")
    return check_socket(Path(path))


def check_socket(path: Path) -> Path:
    if len(os.fsencode(path)) > SOCKET_LENGTH:
        raise ValueError(
            f"the path {path} has more than {SOCKET_LENGTH} bytes, which no socket may have"
        )
    return path


def check_folder(path: Path | None) -> Path | None:
    if path and not path.is_absolute():
        raise ValueError(f"'{path}' is not an absolute path")
    return path


def parse_address(value: object) -> tuple[str, int] | None:
    if value in {None, ""}:
        return None
    host, colon, port = str(value).rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT, as in 127.0.0.1:9100 or [::]:9100")
    if host.startswith("["):
        return str(ipaddress.IPv6Address(host.strip("[]"))), int(port)
    return host or "0.0.0.0", int(port)  # noqa: S104 - what ":9100" means everywhere
