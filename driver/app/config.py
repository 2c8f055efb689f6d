"""The settings of `serve` and `route`: flags, environment and file in, a frozen Config out.

Checked once, at start; pydantic stays behind this door. Invalid names the setting and the cure.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from driver.app.cluster_settings import (
    NodesSetting,
    StaticNodes,
    parse_nodes,
    parse_prefix,
    parse_span,
)
from driver.core import kubelet
from driver.core.addresses import check_folder, check_socket, parse_address, parse_endpoint
from driver.core.errors import Invalid
from driver.core.lvmoptions import read_devices, read_uuid
from driver.core.model import GIB, KIB, Allocation
from driver.core.quantity import parse_bytes, parse_share
from driver.linux.formats.luks import Options as CryptOptions

SPEC: Final = "NAME=TYPE:WHERE[,key=value...], as in fast=loopfile:/srv/fast,allocation=sparse"
PREFIX: Final = "CELLAR_"

_POOL: Final = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)=([a-z]+):([^,]+)(?:,(.*))?"
)
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")  # CSI, Topology
_DRIVER: Final = re.compile(r"[A-Za-z]([A-Za-z0-9.-]{0,61}[A-Za-z])?")  # CSI, GetPluginInfo
_KEY: Final = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,61}}[a-z0-9])?/)?{_LABEL.pattern}")

Options = TypeVar("Options")
Model = TypeVar("Model", bound="_Common")


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """One `--pool`. `where` and `options` are interpreted by the backend of its type."""

    name: str
    type: str
    where: str
    options: Mapping[str, str]

    def path(self) -> Path:
        """Return `where` as an absolute path. Raises: Invalid if it is not one."""
        if not self.where.startswith("/") or ".." in self.where.split("/"):
            raise Invalid(f"pool {self.name}: {self.where!r} is not an absolute path")
        return Path(self.where)

    def size(self) -> int:
        """Return `where` as a number of bytes. Raises: Invalid if it is not one."""
        try:
            return parse_bytes(self.where)
        except Invalid as error:
            raise Invalid(f"pool {self.name}: {error}") from None

    def options_as(self, kind: Callable[..., Options]) -> Options:
        """Return the options as the dataclass `kind` of a backend.

        Raises: Invalid, which names the option, and those that the type has.
        """
        known = [one.name for one in fields(kind) if one.name in OPTION_READERS]  # type: ignore[arg-type]
        if unknown := sorted(self.options.keys() - set(known)):
            raise Invalid(
                f"pool {self.name}: unknown option {', '.join(unknown)};"
                f" {self.type} pools have {', '.join(known)}"
            )
        return kind(**{key: self._read(key, value) for key, value in self.options.items()})

    def _read(self, key: str, value: str) -> object:
        try:
            return OPTION_READERS[key](value)
        except ValueError as error:
            raise Invalid(f"pool {self.name}: {key}={value!r}: {error}") from None
        except Invalid as error:
            raise Invalid(f"pool {self.name}: {key}: {error}") from None


def default_state_dir() -> Path:
    """Return the default state directory: below /var/lib for root (FHS), else the user's (XDG)."""
    if os.geteuid() == 0:
        return Path("/var/lib/cellar")
    folder = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (folder if folder.is_absolute() else Path.home() / ".local/state") / "cellar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of `cellar serve`."""

    endpoint: Path
    node_id: str
    pools: tuple[PoolSpec, ...]
    max_volumes: int
    metrics: tuple[str, int] | None
    driver_name: str
    topology_key: str
    attach: bool
    log_level: str
    log_format: str
    listen: tuple[str, int] | None = None
    tls_dir: Path | None = None
    luks: CryptOptions = field(default_factory=CryptOptions)
    kubelet_dir: Path | None = None
    state_dir: Path = field(default_factory=default_state_dir)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfig:
    """The settings of `cellar route`."""

    endpoint: Path
    nodes: NodesSetting
    tls_dir: Path | None  # None: Secrets of the cluster
    objects: str
    kubeconfig: Path | None
    node_gone_after: float  # seconds
    node_gone_policy: Literal["retain", "forget"]
    metrics: tuple[str, int] | None
    driver_name: str
    topology_key: str
    attach: bool
    log_level: str
    log_format: str


def load(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """Return the settings of `serve`.

    A flag overrides the environment, and that the file. Raises: Invalid, which names the
    setting.
    """
    settings = _load(_Settings, flags, environment)
    return Config(**{one.name: getattr(settings, one.name) for one in fields(Config)})


def load_route(flags: Mapping[str, Any], environment: Mapping[str, str]) -> RouteConfig:
    """Return the settings of `route`, in the same way as `load`. Raises: Invalid."""
    settings = _load(_RouteSettings, flags, environment)
    return RouteConfig(**{one.name: getattr(settings, one.name) for one in fields(RouteConfig)})


def _load(kind: type[Model], flags: Mapping[str, Any], environment: Mapping[str, str]) -> Model:
    variables = _from_environment(kind, environment)
    file = flags.get("config") or variables.pop("config", None)
    given = _from_file(Path(file)) if file else {}
    given |= variables
    given |= {key: value for key, value in flags.items() if value is not None and key != "config"}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise Invalid("; ".join(_sentence(kind, one) for one in error.errors())) from None


def parse_pool(text: str) -> PoolSpec:
    """Return the pool that a value of `--pool` describes. Raises: ValueError."""
    if not (match := _POOL.fullmatch(text)):
        raise ValueError(f"{text!r} is not {SPEC}")
    name, _, kind, where, options = match.groups()
    pairs = [option.partition("=") for option in (options or "").split(",") if option]
    if bad := [key for key, equals, _ in pairs if not equals]:
        raise ValueError(f"{text!r}: option {bad[0]!r} has no value; write {bad[0]}=...")
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise ValueError(f"{text!r}: an option is given twice")
    return PoolSpec(name, kind, where, {key: value for key, _, value in pairs})


# --- the parts of a setting


def _pool(value: object) -> PoolSpec:
    """Return the pool that a string as of `--pool`, or a mapping with the same parts, describes."""
    if isinstance(value, str):
        return parse_pool(value)
    if not isinstance(value, dict) or not {"name", "type", "where"} <= value.keys():
        raise ValueError(f"a pool is {SPEC}, or a mapping with name, type, where and options")
    name, kind, where = (str(value[key]) for key in ("name", "type", "where"))
    rest = {
        key: _plain(option) for key, option in value.items() if key not in {"name", "type", "where"}
    }
    checked = parse_pool(f"{name}={kind}:{where}")
    return PoolSpec(checked.name, checked.type, checked.where, rest)


def _plain(option: object) -> str:
    if isinstance(option, list):
        return ":".join(map(str, option))
    return str(option).lower() if isinstance(option, bool) else str(option)


def _pools(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _distinct(pools: tuple[PoolSpec, ...]) -> tuple[PoolSpec, ...]:
    for what, seen in (("name", [one.name for one in pools]), ("place", _places(pools))):
        if twice := {one for one in seen if seen.count(one) > 1}:
            raise ValueError(f"two pools have the same {what}: {', '.join(sorted(twice))}")
    return pools


def _places(pools: tuple[PoolSpec, ...]) -> list[str]:
    return [os.path.normpath(one.where) for one in pools if one.where.startswith("/")]


def _luks(value: object) -> CryptOptions:
    """Return the options of `pbkdf=argon2id,memory=64MiB,iterations=4`, or of such a mapping.

    Raises: ValueError.
    """
    if isinstance(value, CryptOptions):
        return value
    pairs = value if isinstance(value, dict) else dict(_pair(one) for one in str(value).split(","))
    known = {"pbkdf", "memory", "iterations"}
    if unknown := sorted(pairs.keys() - known):
        raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    pbkdf, iterations = str(pairs.get("pbkdf", "argon2id")), str(pairs.get("iterations", "0"))
    if pbkdf not in {"argon2id", "pbkdf2"}:
        raise ValueError(f"pbkdf is argon2id or pbkdf2, not {pbkdf!r}")
    least = 1000 if pbkdf == "pbkdf2" else 4  # cryptsetup takes no less
    if not re.fullmatch(r"[0-9]{1,9}", iterations) or 0 < int(iterations) < least:
        raise ValueError(f"iterations of {pbkdf} are a number of at least {least}")
    try:
        memory = parse_bytes(str(pairs.get("memory", "64MiB")))
    except Invalid as error:
        raise ValueError(f"memory: {error}") from None
    if not 32 * KIB <= memory <= 4 * GIB:
        raise ValueError("memory is between 32KiB and 4GiB, what cryptsetup takes")
    return CryptOptions(pbkdf=pbkdf, memory=memory, iterations=int(iterations))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not key=value")
    return key, value


def _like(form: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return AfterValidator(check)


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class _Common(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=_kebab, populate_by_name=True, arbitrary_types_allowed=True
    )

    endpoint: Annotated[Path, BeforeValidator(parse_endpoint)]
    metrics: Annotated[tuple[str, int] | None, BeforeValidator(parse_address)] = None
    driver_name: Annotated[
        str, _like(_DRIVER, "a driver's name: at most 63 letters, digits, - and .")
    ] = "cellar.csi.internal"
    topology_key: Annotated[str, _like(_KEY, "a topology key: PREFIX/NAME")] = (
        "cellar.csi.internal/node"
    )
    attach: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"


class _RouteSettings(_Common):
    nodes: Annotated[NodesSetting, BeforeValidator(parse_nodes)]
    tls_dir: Path | None = None
    objects: Annotated[str, BeforeValidator(parse_prefix)] = "cellar"
    kubeconfig: Path | None = None
    node_gone_after: Annotated[float, BeforeValidator(parse_span)] = 900.0
    node_gone_policy: Literal["retain", "forget"] = "retain"

    @model_validator(mode="after")
    def _secure(self) -> Self:
        if isinstance(self.nodes, StaticNodes) and not self.tls_dir:
            raise ValueError("--tls-dir is required with --nodes static:FILE")
        return self


class _Settings(_Common):
    node_id: Annotated[
        str, _like(_LABEL, "a node's name: at most 63 letters, digits and -_. between them")
    ] = Field(default_factory=socket.gethostname)
    pools: Annotated[
        tuple[Annotated[PoolSpec, BeforeValidator(_pool)], ...],
        Field(min_length=1),
        BeforeValidator(_pools),
        AfterValidator(_distinct),
    ]
    max_volumes: Annotated[int, Field(ge=0)] = 0
    listen: Annotated[tuple[str, int] | None, BeforeValidator(parse_address)] = None
    tls_dir: Path | None = None
    luks: Annotated[CryptOptions, BeforeValidator(_luks)] = Field(default_factory=CryptOptions)
    kubelet_dir: Annotated[Path | None, AfterValidator(check_folder)] = None
    state_dir: Annotated[Path, AfterValidator(check_folder)] = Field(
        default_factory=default_state_dir
    )

    @model_validator(mode="before")
    @classmethod
    def _where_kubelet_looks(cls, given: dict[str, Any]) -> dict[str, Any]:
        if not given.get("kubelet_dir") or given.get("endpoint"):
            return given
        name = str(given.get("driver_name") or cls.model_fields["driver_name"].default)
        where = kubelet.csi_socket(Path(str(given["kubelet_dir"])), name)
        return given | {"endpoint": f"unix:{where}"}

    @model_validator(mode="after")
    def _announced(self) -> Self:
        if self.kubelet_dir:
            check_socket(kubelet.registration_socket(self.kubelet_dir, self.driver_name))
        return self

    @model_validator(mode="after")
    def _secure(self) -> Self:
        if bool(self.listen) != bool(self.tls_dir):
            raise ValueError("--listen and --tls-dir go together: a port is never open to all")
        return self


# --- where settings come from


def _from_environment(kind: type[_Common], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in CELLAR_NODE_ID and so on. CELLAR_POOLS has several, separated by
    spaces.
    """
    names = {f"{PREFIX}{name.upper()}": name for name in (*kind.model_fields, "config")}
    return {names[key]: value for key, value in environment.items() if key in names and value}


def _from_file(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - 3 MiB, for those only who have a file

    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Invalid(f"--config {path}: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"--config {path}: a mapping is expected: endpoint, node-id, pools...")
    return {str(key).replace("-", "_"): value for key, value in found.items()}


def _is_usual(setting: str) -> bool:
    """Return whether both serve and route have the setting: few need these, so they are named
    last.
    """
    return setting in _Common.model_fields and setting != "endpoint"


def _sentence(kind: type[_Common], error: Any) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    setting = str(error["loc"][0]).replace("_", "-")
    flag = {"pools": "--pool", "attach": "--no-attach"}.get(setting, f"--{setting}")
    if error["type"] == "missing":
        return f"{flag} is required"
    if error["type"] == "extra_forbidden":
        known = ", ".join(map(_kebab, sorted(kind.model_fields, key=_is_usual)))
        return f"unknown setting {setting!r}; known: {known}"
    return f"{flag}: {error['msg'].removeprefix('Value error, ')}"


# --- what options of pools look like, for all backends; the chart's schema is made of this table


def read_allocation(text: str) -> Allocation:
    """Return the allocation. Raises: ValueError.

    Thin volumes exist in thin pools only, which have nothing else and so no such option.
    """
    accepted = [Allocation.THICK, Allocation.SPARSE]
    if text not in accepted:
        raise ValueError(f"one of {', '.join(accepted)} is expected")
    return Allocation(text)


def read_overcommit(text: str) -> float:
    """Return a factor above 0, as 1.5. Raises: ValueError."""
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or float(text) <= 0:
        raise ValueError("a number above 0 is expected, as in 1.5")
    return float(text)


def read_reserve(text: str) -> str:
    """Return the text, which is a size or a share of the pool. Raises: Invalid."""
    parse_share(text, GIB)
    return text


def read_stripes(text: str) -> int:
    """Return a number from 1 to 99. Raises: ValueError."""
    return _count(text, 1)


def read_mirrors(text: str) -> int:
    """Return a number from 0 to 99. Raises: ValueError."""
    return _count(text, 0)


def _count(text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) < least:
        raise ValueError(f"a number between {least} and 99 is expected")
    return int(text)


def read_truth(text: str) -> bool:
    """Return whether the text is "true". Raises: ValueError if it is not "false" either."""
    if text not in {"true", "false"}:
        raise ValueError("true or false is expected")
    return text == "true"


OPTION_READERS: Final[dict[str, Callable[[str], object]]] = {
    "allocation": read_allocation,
    "overcommit": read_overcommit,
    "reserve": read_reserve,
    "extend": read_reserve,
    "stripes": read_stripes,
    "mirrors": read_mirrors,
    "devices": read_devices,
    "uuid": read_uuid,
    "init": read_truth,
    "reflink": read_truth,
}
