"""Parses settings of `cellar route`: --nodes, names, time spans. All errors are ValueErrors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

FORMS: Final = "static:FILE or kubernetes[:[NAMESPACE/]SERVICE]"
SERVICE: Final = "cellar-node"
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)  # RFC 1123, a label


@dataclass(frozen=True, slots=True)
class StaticNodes:
    """The value of the setting `--nodes` for nodes that are listed in a YAML file, `file`."""

    file: Path

    def __str__(self) -> str:
        return f"static:{self.file}"


@dataclass(frozen=True, slots=True)
class KubernetesNodes:
    """The value of the setting `--nodes` for nodes that are the endpoints of a Kubernetes Service.
    `namespace` None: that of the router's own pod.
    """

    service: str
    namespace: str | None

    def __str__(self) -> str:
        return f"kubernetes:{f'{self.namespace}/' if self.namespace else ''}{self.service}"


NodesSetting: TypeAlias = StaticNodes | KubernetesNodes


def parse_nodes(value: object) -> NodesSetting:
    """Parse the value of `--nodes`, which says where the router finds the nodes: in a file, or in
    Kubernetes. Raises: ValueError: it has another form.
    """
    kind, _, location = str(value).partition(":")
    if kind == "static" and location:
        return StaticNodes(Path(location))
    if kind != "kubernetes":
        raise ValueError(f"{value!r} is not {FORMS}")
    namespace, slash, service = (location or SERVICE).rpartition("/")
    if not _NAME.fullmatch(service) or (slash and not _NAME.fullmatch(namespace)):
        raise ValueError(f"{value!r} is not {FORMS}")
    return KubernetesNodes(service, namespace or None)


def parse_prefix(value: object) -> str:
    """Return `value` if it can be the prefix of object names in Kubernetes. Raises: ValueError: it
    cannot.
    """
    if not _NAME.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not the beginning of an object's name")
    return str(value)


def parse_span(value: object) -> float:
    """Return the seconds in `90s`, `15m`, `2h`, `1d`, or in a plain number. Raises: ValueError: it
    has another form.
    """
    if not (match := _SPAN.fullmatch(str(value))):
        raise ValueError(f"{value!r} is not a span of time, as 90s, 15m, 2h or 1d")
    number, unit = match.groups()
    return float(int(number) * _UNITS[unit])
