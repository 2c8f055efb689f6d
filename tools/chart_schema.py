"""The parts of values.schema.json that the driver decides: options of pools, parameters of classes.

They are made of the driver's own tables, so that helm refuses what the driver would refuse: a
DaemonSet that cannot begin is noticed on every node at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from driver.app.pools import POOL_TYPES
from driver.backends import option_readers
from driver.backends.lvm import pool_type as lvm
from driver.backends.lvm.provisioning import location
from driver.backends.pool_type import PoolType, Reader
from driver.core.model import Allocation, FsType
from driver.core.options.storage_class_parameters import OPTIONS
from driver.core.quantity import parse_bytes
from driver.csi import parameters
from driver.linux.disks import disk_rule

Schema: TypeAlias = dict[str, Any]

READERS: Final[Mapping[str, Reader]] = {
    name: reader for pool_type in POOL_TYPES for name, reader in pool_type.readers.items()
}
_BYTES: Final = r"[0-9]{1,18}([kKmMgGtTpP]([iI]|[iI]?[bB])?)?"
_SHARE: Final = r"[0-9]{1,2}(\.[0-9]{1,3})?%"
_ZERO: Final = r"^[0.]*$"
_LARGEST: Final = 1 << 53  # helm turns larger numbers into 1e+16


def _text_or_number(pattern: str, least: float, most: float, kind: str = "integer") -> Schema:
    number = {"type": kind, "minimum": least, "maximum": most}
    return {"anyOf": [{"type": "string", "pattern": f"^{pattern}$"}, number]}


_TRUTH: Final[Schema] = {"enum": [True, False, "true", "false"]}
_SIZE: Final = _text_or_number(_BYTES, 0, _LARGEST)
_OPTION: Final[Mapping[Callable[[str], object], Schema]] = {
    option_readers.read_allocation: {"enum": [Allocation.THICK, Allocation.SPARSE]},
    option_readers.read_overcommit: {
        **_text_or_number(r"[0-9]{1,4}(\.[0-9]{1,3})?", 0.001, 9999, "number"),
        "not": {"type": "string", "pattern": _ZERO},
    },
    option_readers.read_reserve: _text_or_number(rf"({_SHARE}|{_BYTES})", 0, _LARGEST),
    option_readers.read_disk: {
        "type": "string",
        "pattern": f"^{option_readers.DISK}$",
        "not": {"pattern": r"/\.\.(/|$)"},
    },
    disk_rule.parse_rule: {
        "type": "object",
        "properties": {
            "model": {"type": "string", "pattern": "^[^;,=]+$"},
            "sizeMin": _SIZE,
            "rotational": _TRUTH,
            "path": {"type": "string", "pattern": r"^/dev/[^;,=\s]+$"},
        },
        "additionalProperties": False,
        "minProperties": 1,
    },
    lvm.read_stripes: _text_or_number("([1-9]|[0-9][1-9]|[1-9]0)", 1, 99),
    lvm.read_mirrors: _text_or_number("[0-9]{1,2}", 0, 99),
    lvm.read_devices: {
        "type": "string",
        "pattern": r"^/[^,\s]*$",
        "not": {"pattern": r"/\.\.(/|:/|$)"},
    },
    lvm.read_uuid: {"type": "string", "pattern": f"^{lvm.UUID}$"},
    option_readers.read_boolean: _TRUTH,
}
_LOCATION: Final[Mapping[Callable[[str], object], Schema]] = {
    option_readers.read_path: {
        "pattern": r"^/[^,\s]*$",
        "not": {"pattern": r"(^|/)\.\.(/|$)"},
    },
    lvm.read_location: {"pattern": rf"^{location.NAME}(/{location.NAME})?$"},
    parse_bytes: {"pattern": f"^{_BYTES}$"},
}
_PARAMETER: Final[Mapping[str, Schema]] = {
    "pool": {"type": "string"},
    "allocation": {"enum": list(Allocation)},
    parameters.FSTYPE: {"enum": ["", *FsType]},
    "blockSize": {"enum": [512, 4096, "512", "4096"]},
    "encrypted": _TRUTH,
    "readIops": _text_or_number("[0-9]{1,18}", 0, _LARGEST),
    "writeIops": _text_or_number("[0-9]{1,18}", 0, _LARGEST),
    "readBps": _SIZE,
    "writeBps": _SIZE,
    **{
        option.key: {"type": "string", **({"pattern": f"^{option.form}$"} if option.form else {})}
        for option in OPTIONS.values()
    },
}


def pool() -> Schema:
    """One entry of `pools`: which options there are depends on its type."""
    known = {name: _OPTION[reader] for name, reader in READERS.items()}
    return {
        "type": "object",
        "properties": {
            "name": {
                "type": "string",
                "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                "maxLength": 40,
            },
            "type": {"type": "string", "enum": [pool_type.name for pool_type in POOL_TYPES]},
            "where": {"type": "string", "pattern": r"^[^,\s]+$"},
            **known,
        },
        "additionalProperties": False,
        "required": ["name", "type", "where"],
        "allOf": [_of_type(pool_type) for pool_type in POOL_TYPES],
    }


def _of_type(pool_type: PoolType[Any, Any]) -> Schema:
    names = ["name", "type", "where", *pool_type.readers]
    location = _LOCATION[pool_type.read_location]
    then = {"propertyNames": {"enum": names}, "properties": {"where": location}}
    return {"if": {"properties": {"type": {"const": pool_type.name}}}, "then": then}


def class_parameters() -> Schema:
    """Of a StorageClass. Other keys of Kubernetes are for its sidecars: secrets, for one."""
    return _parameters((*parameters.CREATION, *parameters.LIMITS)) | {
        "patternProperties": {"^csi\\.storage\\.k8s\\.io/": {"type": "string"}}
    }


def attributes() -> Schema:
    """Of a VolumeAttributesClass."""
    return _parameters(tuple(parameters.LIMITS)) | {"minProperties": 1}


def _parameters(names: tuple[str, ...]) -> Schema:
    return {
        "type": "object",
        "properties": {name: _PARAMETER[name] for name in names},
        "additionalProperties": False,
    }


def updated(schema: str) -> str:
    """The text of values.schema.json with its parts written anew."""
    whole = json.loads(schema)
    values = whole["properties"]
    for pools in (values["pools"], values["nodeGroups"]["items"]["properties"]["pools"]):
        pools["items"] = pool()
    values["storageClasses"]["items"]["properties"]["parameters"] = class_parameters()
    values["attributesClasses"]["items"]["properties"]["parameters"] = attributes()
    return json.dumps(whole, indent=2) + "\n"
