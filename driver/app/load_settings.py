"""Reads the settings from flags, environment and file, once, at start.

A flag overrides the environment, and the environment the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from driver.app.settings import (
    CommonSettings,
    RouteSettings,
    ServeSettings,
    find_flag,
    setting_names,
)
from driver.core.errors import Invalid

PREFIX: Final = "CELLAR_"  # of environment variables

Settings = TypeVar("Settings", bound=CommonSettings)


def load(flags: Mapping[str, Any], environment: Mapping[str, str]) -> ServeSettings:
    """Return the settings of `cellar serve` from flags, environment and settings file. Raises:
    Invalid, whose text names each invalid setting.

    `flags`: the flags that were given, by setting. `environment`: the process's variables.
    """
    return _load(ServeSettings, flags, environment)


def load_route(flags: Mapping[str, Any], environment: Mapping[str, str]) -> RouteSettings:
    """Return the settings of `cellar route` from flags, environment and settings file. Raises:
    Invalid, whose text names each invalid setting.

    `flags`: the flags that were given, by setting. `environment`: the process's variables.
    """
    return _load(RouteSettings, flags, environment)


def _load(
    model: type[Settings], flags: Mapping[str, Any], environment: Mapping[str, str]
) -> Settings:
    variables = _from_environment(model, environment)
    file = flags.get("config") or variables.pop("config", None)
    given = _from_file(Path(file)) if file else {}
    given |= variables
    given |= {key: value for key, value in flags.items() if value is not None and key != "config"}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        texts = (_explain(model, details) for details in error.errors())
        raise Invalid("; ".join(texts)) from None


def _from_environment(
    model: type[CommonSettings], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Return the settings in CELLAR_NODE_ID and so on. CELLAR_POOLS has several, separated by
    spaces.
    """
    settings = {f"{PREFIX}{name.upper()}": name for name in (*model.model_fields, "config")}
    return {settings[key]: value for key, value in environment.items() if key in settings and value}


def _from_file(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - 3 MiB, for those only who have a file

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Invalid(f"--config {path}: {error}") from None
    if not isinstance(document, dict):
        raise Invalid(f"--config {path}: a mapping is expected: endpoint, node-id, pools...")
    return {str(key).replace("-", "_"): value for key, value in document.items()}


def _explain(model: type[CommonSettings], error: Any) -> str:
    """Return a sentence for one of pydantic's errors, with the flag's name."""
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    setting = str(error["loc"][0]).replace("-", "_")
    if error["type"] == "extra_forbidden":
        known = ", ".join(name.replace("_", "-") for name in setting_names(model))
        return f"unknown setting {setting.replace('_', '-')!r}; known: {known}"
    flag = f"--{find_flag(model, setting).name or setting.replace('_', '-')}"
    if error["type"] == "missing":
        return f"{flag} is required"
    return f"{flag}: {error['msg'].removeprefix('Value error, ')}"
