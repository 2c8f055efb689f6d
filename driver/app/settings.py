"""The settings of `serve` and `route` in one table, with the flags. `load_settings` reads them.

Each setting is defined once, with its type, default, check and flag.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from driver.app.cluster_settings import (
    NodesSetting,
    StaticNodes,
    parse_nodes,
    parse_prefix,
    parse_span,
)
from driver.app.luks_setting import read_luks
from driver.app.pool_spec import check_distinct, read_pool, read_pools
from driver.backends.pool_type import PoolSpec
from driver.core import addresses
from driver.linux.formats.luks import Options as LuksOptions

_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")  # CSI, Topology
_DRIVER: Final = re.compile(r"[A-Za-z]([A-Za-z0-9.-]{0,61}[A-Za-z])?")  # CSI, GetPluginInfo
_KEY: Final = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,61}}[a-z0-9])?/)?{_LABEL.pattern}")


@dataclass(frozen=True, slots=True)
class Flag:
    """The flag of a setting, for argparse. `name`: the flag without the dashes; "": as the setting
    is called. `help`, `metavar`: its description and its value in the help.

    `action`: argparse's; "append" for a flag that may be given several times.
    """

    help: str
    metavar: str | None = None
    name: str = ""
    action: str = "store"


def _matching(form: re.Pattern[str], meaning: str) -> AfterValidator:
    """Return a check that a text has the form. `meaning`: what it should be, for the error."""

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"{text!r} is not {meaning}")
        return text

    return AfterValidator(check)


def _kebab(name: str) -> str:
    return name.replace("_", "-")


_Address = Annotated[tuple[str, int] | None, BeforeValidator(addresses.parse_address)]


class CommonSettings(BaseModel):
    """The settings that `serve` and `route` share."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_kebab,
        populate_by_name=True,
        arbitrary_types_allowed=True,
    )

    endpoint: Annotated[
        Path,
        BeforeValidator(addresses.parse_endpoint),
        Flag("the socket; required", "unix:///PATH"),
    ]
    metrics: Annotated[
        _Address, Flag("serve /metrics, /healthz and /readyz there", "HOST:PORT")
    ] = None
    driver_name: Annotated[
        str,
        _matching(_DRIVER, "a driver's name: at most 63 letters, digits, - and ."),
        Flag("default: cellar.csi.internal", "NAME"),
    ] = "cellar.csi.internal"
    topology_key: Annotated[
        str,
        _matching(_KEY, "a topology key: PREFIX/NAME"),
        Flag("default: cellar.csi.internal/node", "KEY"),
    ] = "cellar.csi.internal/node"
    attach: Annotated[
        bool,
        Flag(
            "do without ControllerPublishVolume, as CSIDriver's attachRequired: false does",
            name="no-attach",
            action="store_false",
        ),
    ] = True
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Flag("debug, info, warning or error", "LEVEL"),
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Flag("text or json", "FORMAT")] = "text"


class RouteSettings(CommonSettings):
    """The settings of `cellar route`."""

    nodes: Annotated[
        NodesSetting,
        BeforeValidator(parse_nodes),
        Flag(
            "a file of YAML, read again when it changes: nodes: [{name: a, address:"
            " 127.0.0.1:9501}]; or the endpoints of a Service, by default of cellar-node in the"
            " namespace of this pod; required",
            "static:FILE|kubernetes[:[NAMESPACE/]SERVICE]",
        ),
    ]
    tls_dir: Annotated[
        Path | None,  # None: Secrets of the cluster
        Flag(
            "ca.crt, tls.crt and tls.key, as `cellar certs` makes them; required with static;"
            " with kubernetes in place of Secrets",
            "DIR",
        ),
    ] = None
    objects: Annotated[
        str,
        BeforeValidator(parse_prefix),
        Flag(
            "prefix of the objects that are kept in Kubernetes: the Secrets PREFIX-ca,"
            " PREFIX-router, PREFIX-node, created if they do not exist, and the ConfigMap"
            " PREFIX-pools; default: cellar",
            "PREFIX",
        ),
    ] = "cellar"
    kubeconfig: Annotated[Path | None, Flag("default: the service account of this pod", "FILE")] = (
        None
    )
    node_gone_after: Annotated[
        float,  # seconds
        BeforeValidator(parse_span),
        Flag(
            "for how long there must be no Node object before a node counts as gone; 90s, 15m,"
            " 2h; default: 15m",
            "SPAN",
        ),
    ] = 900.0
    node_gone_policy: Annotated[
        Literal["retain", "forget"],
        Flag(
            "the answer when a volume of a node that is gone is deleted: UNAVAILABLE, or OK with"
            " an Event; default: retain",
            "retain|forget",
        ),
    ] = "retain"
    orphans_after: Annotated[
        float,  # seconds
        BeforeValidator(parse_span),
        Flag(
            "for how long there must be no PersistentVolume of a volume before it counts as an"
            " orphan; 0: volumes are not compared with PersistentVolumes; default: 10m",
            "SPAN",
        ),
    ] = 600.0

    @model_validator(mode="after")
    def _require_tls(self) -> Self:
        if isinstance(self.nodes, StaticNodes) and not self.tls_dir:
            raise ValueError("--tls-dir is required with --nodes static:FILE")
        return self


class ServeSettings(CommonSettings):
    """The settings of `cellar serve`."""

    endpoint: Annotated[
        Path,
        BeforeValidator(addresses.parse_endpoint),
        Flag(
            "the socket; required, but with --kubelet-dir its default is"
            " DIR/plugins/<driver name>/csi.sock",
            "unix:///PATH",
        ),
    ]
    node_id: Annotated[
        str,
        _matching(_LABEL, "a node's name: at most 63 letters, digits and -_. between them"),
        Flag("this node's name, usually that of its Node object", "NAME"),
    ] = Field(default_factory=socket.gethostname)
    pools: Annotated[
        tuple[Annotated[PoolSpec, BeforeValidator(read_pool)], ...],
        Field(min_length=1),
        BeforeValidator(read_pools),
        AfterValidator(check_distinct),
        Flag(
            "repeatable; fast=loopfile:/srv/fast,allocation=sparse,overcommit=2,reserve=5%%"
            " or sim=memory:10GiB",
            "NAME=TYPE:WHERE[,key=value...]",
            name="pool",
            action="append",
        ),
    ]
    kubelet_dir: Annotated[
        Path | None,
        AfterValidator(addresses.check_folder),
        Flag(
            "register the driver with the kubelet of this directory, usually /var/lib/kubelet; it"
            " must have the same path for both",
            "DIR",
        ),
    ] = None
    state_dir: Annotated[
        Path,
        AfterValidator(addresses.check_folder),
        Flag(
            "where the driver stores what no pool records: where volumes are mounted, and which"
            " pool was found at which place; default: /var/lib/cellar",
            "DIR",
        ),
    ] = Field(default_factory=addresses.default_state_dir)
    pods_cgroup: Annotated[
        Path | None,
        AfterValidator(addresses.check_folder),
        Flag(
            "the control group of all pods, in which IO limits are set; default: the one below"
            " /sys/fs/cgroup that kubelet made",
            "DIR",
        ),
    ] = None
    metrics_volumes: Annotated[
        bool, Flag("false: no metrics of single volumes; default: true", "true|false")
    ] = True
    trim_interval: Annotated[
        float,  # seconds
        BeforeValidator(parse_span),
        Flag("give the free space of volumes back this often, as 7d; default: 0, never", "SPAN"),
    ] = 0.0
    max_volumes: Annotated[
        int, Field(ge=0), Flag("volumes that this node may have; 0: no limit", "N")
    ] = 0
    listen: Annotated[_Address, Flag("open a port for the routers of a cluster", "HOST:PORT")] = (
        None
    )
    tls_dir: Annotated[
        Path | None, Flag("directory of ca.crt, tls.crt and tls.key for the port", "DIR")
    ] = None
    luks: Annotated[
        LuksOptions,
        BeforeValidator(read_luks),
        Flag(
            "what opening an encrypted volume costs; default:"
            " pbkdf=argon2id,memory=64MiB,iterations=4; pbkdf2 takes no memory",
            "pbkdf=...,memory=...,iterations=...",
        ),
    ] = Field(default_factory=LuksOptions)

    @model_validator(mode="before")
    @classmethod
    def _default_endpoint(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Set the endpoint to where kubelet expects it, if only --kubelet-dir is given."""
        if not given.get("kubelet_dir") or given.get("endpoint"):
            return given
        name = str(given.get("driver_name") or cls.model_fields["driver_name"].default)
        path = addresses.csi_socket(Path(str(given["kubelet_dir"])), name)
        return given | {"endpoint": f"unix:{path}"}

    @model_validator(mode="after")
    def _check_registration_socket(self) -> Self:
        if folder := self.kubelet_dir:
            addresses.check_socket(addresses.registration_socket(folder, self.driver_name))
        return self

    @model_validator(mode="after")
    def _require_tls(self) -> Self:
        if bool(self.listen) != bool(self.tls_dir):
            raise ValueError("--listen and --tls-dir go together: a port is never open to all")
        return self


def find_flag(model: type[CommonSettings], setting: str) -> Flag:
    """Return the flag of a setting."""
    return next(item for item in model.model_fields[setting].metadata if isinstance(item, Flag))


def setting_names(model: type[CommonSettings]) -> list[str]:
    """Return the names of the settings: `endpoint`, those of only this command, and the others."""
    common = CommonSettings.model_fields.keys() - {"endpoint"}
    return sorted(model.model_fields, key=lambda name: name in common)
