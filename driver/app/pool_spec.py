"""Parses `--pool` and the entries of `pools` in the settings file. All errors are ValueErrors."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from driver.backends.pool_type import PoolSpec

FORM: Final = "NAME=TYPE:WHERE[,key=value...], as in fast=loopfile:/srv/fast,allocation=sparse"

_POOL: Final = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)=([a-z]+):([^,]+)(?:,(.*))?"
)
_FIELDS: Final = ("name", "type", "where")


def parse_pool(text: str) -> PoolSpec:
    """Parse the value of `--pool`, NAME=TYPE:LOCATION and options. Raises: ValueError: it has
    another form.
    """
    if not (match := _POOL.fullmatch(text)):
        raise ValueError(f"{text!r} is not {FORM}")
    name, _, kind, location, options = match.groups()
    pairs = [option.partition("=") for option in (options or "").split(",") if option]
    if bad := [key for key, equals, _ in pairs if not equals]:
        raise ValueError(f"{text!r}: option {bad[0]!r} has no value; write {bad[0]}=...")
    if len({key for key, _, _ in pairs}) < len(pairs):
        raise ValueError(f"{text!r}: an option is given twice")
    return PoolSpec(name, kind, location, {key: value for key, _, value in pairs})


def read_pools(value: object) -> object:
    """Split the text of CELLAR_POOLS at spaces into one string for each pool; any other value is
    returned unchanged. `read_pool` parses the strings.
    """
    return value.split() if isinstance(value, str) else value


def read_pool(value: object) -> PoolSpec:
    """Parse a pool given as the value of `--pool`, or as a mapping in the settings file.

    Raises: ValueError: it has another form.
    """
    if isinstance(value, PoolSpec):
        return value
    if isinstance(value, str):
        return parse_pool(value)
    if not isinstance(value, dict) or not set(_FIELDS) <= value.keys():
        raise ValueError(f"a pool is {FORM}, or a mapping with name, type, where and options")
    name, kind, location = (str(value[key]) for key in _FIELDS)
    options = {key: _as_text(option) for key, option in value.items() if key not in _FIELDS}
    spec = parse_pool(f"{name}={kind}:{location}")
    return PoolSpec(spec.name, spec.type, spec.location, options)


def check_distinct(pools: tuple[PoolSpec, ...]) -> tuple[PoolSpec, ...]:
    """Return the pools unchanged. Raises: ValueError: two pools have the same name or directory."""
    _refuse_twice("name", [pool.name for pool in pools])
    paths = [pool.location for pool in pools if pool.location.startswith("/")]
    _refuse_twice("place", [os.path.normpath(path) for path in paths])
    return pools


def _refuse_twice(label: str, values: list[str]) -> None:
    if twice := {value for value in values if values.count(value) > 1}:
        raise ValueError(f"two pools have the same {label}: {', '.join(sorted(twice))}")


def _as_text(option: Any) -> str:
    """Return a value of YAML as `--pool` would have it."""
    if isinstance(option, dict):
        return ";".join(f"{key}={_as_text(value)}" for key, value in option.items())
    if isinstance(option, list):
        return ":".join(map(str, option))
    return str(option).lower() if isinstance(option, bool) else str(option)
