"""Parses the parameters of a StorageClass and of a VolumeAttributesClass; each key has one parser.

A parameter that is stored with a volume is an entry of OPTIONS in
core/options/storage_class_parameters.py. A parameter that only decides where or how a volume is
created is a line of CREATION here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from driver.core.errors import Invalid
from driver.core.model import (
    DEFAULT_SIZE,
    NO_OBJECTS,
    Allocation,
    Bytes,
    FsType,
    Limits,
    ObjectKind,
    ObjectNames,
)
from driver.core.options.storage_class_parameters import OPTIONS
from driver.core.quantity import parse_bytes
from driver.csi import capability

KUBERNETES: Final = "csi.storage.k8s.io/"  # keys of the provisioner itself, which are ignored
FSTYPE: Final = f"{KUBERNETES}fstype"
EPHEMERAL: Final = f"{KUBERNETES}ephemeral"
BLOCK_SIZES: Final = {"512": 512, "4096": 4096}
LIMIT: Final = 1 << 62  # of all numbers
# Where the sidecars (with --extra-create-metadata) and kubelet put the names of the objects that a
# call is for: namespace, name, and the PersistentVolume, VolumeSnapshotContent or pod's uid.
_OBJECTS: Final = {
    ObjectKind.CLAIM: ("pvc/namespace", "pvc/name", "pv/name"),
    ObjectKind.SNAPSHOT: (
        *("volumesnapshot/namespace", "volumesnapshot/name"),
        "volumesnapshotcontent/name",
    ),
    ObjectKind.GROUP_SNAPSHOT: (
        *("volumegroupsnapshot/namespace", "volumegroupsnapshot/name"),
        "volumegroupsnapshotcontent/name",
    ),
    ObjectKind.POD: ("pod.namespace", "pod.name", "pod.uid"),
}
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """The parameters of a StorageClass, overridden by those of a VolumeAttributesClass. None: the
    parameter is not given. `options`: the texts of parameters that are fields of VolumeOptions, by
    the field's name.
    """

    pool: str | None = None
    allocation: Allocation | None = None
    fs: FsType | None = None
    options: Mapping[str, str] = field(default_factory=dict)  # texts, by the field of VolumeOptions
    block_size: Bytes | None = None
    encrypted: bool | None = None
    limits: Limits = field(default_factory=Limits)


def parse(parameters: Mapping[str, str], mutable: Mapping[str, str]) -> Class:
    """Parse the parameters of a StorageClass. IO limits in `mutable`, the parameters of a
    VolumeAttributesClass, override those in `parameters`.

    Raises: Invalid, whose text names the wrong parameter.
    """
    read = _read(parameters, {**CREATION, **LIMITS}, "parameters")
    changed = parse_limits(mutable)
    return _class(read, changed)


def parse_inline(attributes: Mapping[str, str]) -> tuple[Class, Bytes]:
    """Parse an inline volume's attributes in the pod, and return its parameters and its size in
    bytes.

    Raises: Invalid, whose text names the wrong attribute.
    """
    read = _read(attributes, {**_INLINE, **LIMITS}, "volume_context")
    size = read.pop("size", DEFAULT_SIZE)
    return _class(read, {}), size


def parse_limits(mutable: Mapping[str, str]) -> dict[str, int]:
    """Return the IO limits in `mutable`, the parameters of a VolumeAttributesClass, by the name of
    their field in the class Limits.

    Raises: Invalid, whose text names the wrong parameter.
    """
    return _read(mutable, LIMITS, "mutable_parameters")


def limits_by_key(limits: Limits) -> dict[str, int]:
    """Return the IO limits that are set, by the name of their parameter in a
    VolumeAttributesClass.
    """
    values = {key: getattr(limits, name) for key, (name, _) in LIMITS.items()}
    return {key: value for key, value in values.items() if value}


def _class(read: Mapping[str, Any], changed: Mapping[str, int]) -> Class:
    options = {name: value for name, value in read.items() if name in OPTIONS}
    limits = {name: value for name, value in read.items() if name in _LIMITED}
    creation = {name: value for name, value in read.items() if name not in {*OPTIONS, *_LIMITED}}
    return Class(options=options, limits=Limits(**{**limits, **changed}), **creation)


def object_names(parameters: Mapping[str, str], kind: ObjectKind, name: str = "") -> ObjectNames:
    """Return the names of the Kubernetes objects for which a volume or snapshot is created.
    `parameters`: those of the create request, or the volume context of an inline volume. Values
    that are no valid names in Kubernetes are left out.

    `kind`: the kind of object for which the image is created; `name`: the CSI name of the image.
    """
    namespace, claim, persistent = (_object_name(parameters, key) for key in _OBJECTS[kind])
    if not (namespace and claim):
        return NO_OBJECTS
    return ObjectNames(namespace, claim, persistent if persistent != name else "")


def claim_names(namespace: str, claim: str, persistent: str) -> ObjectNames:
    """Return the names of a volume's claim and PersistentVolume as ObjectNames.

    Raises: Invalid: one of the names is no valid name in Kubernetes.
    """
    keys = _OBJECTS[ObjectKind.CLAIM]
    named = {
        KUBERNETES + key: name
        for key, name in zip(keys, (namespace, claim, persistent), strict=True)
    }
    objects = object_names(named, ObjectKind.CLAIM)
    if objects != ObjectNames(namespace, claim, persistent):
        raise Invalid("namespace, claim and persistent must be names of Kubernetes objects")
    return objects


def object_facts(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the names of Kubernetes objects in a request's parameters, by their kind, for
    the log.
    """
    named = ((kind, str(object_names(parameters, kind))) for kind in _OBJECTS)
    return {kind: text for kind, text in named if text}


def _object_name(parameters: Mapping[str, str], key: str) -> str:
    name = parameters.get(KUBERNETES + key, "") if key else ""
    return name if _OBJECT_NAME.fullmatch(name) else ""


def refuse_parameters(parameters: Mapping[str, str]) -> None:
    """Check that a snapshot has only parameters that Kubernetes itself adds.

    Raises: Invalid, whose text names the other parameter.
    """
    _read(parameters, {}, "parameters")


def refuse_group_parameters(parameters: Mapping[str, str]) -> None:
    """Check that a group snapshot has only parameters that Kubernetes itself adds, and
    `deletionPolicy`, which the test suite of Kubernetes 1.36 adds.

    Raises: Invalid, whose text names the other parameter.
    """
    refuse_parameters({key: value for key, value in parameters.items() if key != "deletionPolicy"})


Reader = Callable[[str], Any]


def _read(
    parameters: Mapping[str, str], readers: Mapping[str, tuple[str, Reader]], field: str
) -> dict[str, Any]:
    for key in parameters:
        _refuse_misspelt(key, readers, field)
    ours = {key: value for key, value in parameters.items() if _is_ours(key, readers)}
    if unknown := sorted(ours.keys() - readers.keys()):
        accepted = ", ".join(readers) or "none"
        raise Invalid(f"{field}: unknown {', '.join(map(repr, unknown))}; accepted: {accepted}")
    parsed = {}
    for key, value in ours.items():
        name, reader = readers[key]
        try:
            parsed[name] = reader(value)
        except Invalid as error:
            raise Invalid(f"{field}[{key}]: {error}") from None
    return parsed


def _refuse_misspelt(key: str, readers: Mapping[str, Any], field: str) -> None:
    """Refuse a key that is a misspelling of one of Kubernetes' keys that are read here.

    Kubernetes' own keys are otherwise accepted unread, so that it would be ignored. Raises:
    Invalid if `key` differs from one that is read only in case, spaces or punctuation.
    """
    if key in readers:
        return
    for known in readers:
        if known.startswith(KUBERNETES) and _letters(key) == _letters(known):
            raise Invalid(f"{field}: unknown {key!r}; perhaps {known!r} is meant")


def _letters(key: str) -> str:
    return "".join(filter(str.isalnum, key)).lower()


def _is_ours(key: str, readers: Mapping[str, Any]) -> bool:
    return key in readers or not key.startswith(KUBERNETES)


def _pool(text: str) -> str | None:
    return text or None


def _allocation(text: str) -> Allocation:
    try:
        return Allocation(text)
    except ValueError:
        raise Invalid(f"{text!r} is not one of {', '.join(Allocation)}") from None


def _fs(text: str) -> FsType | None:
    return capability.filesystem(text, "filesystem")


def _block_size(text: str) -> Bytes:
    if text not in BLOCK_SIZES:
        raise Invalid(f"{text!r} is not one of {', '.join(BLOCK_SIZES)}")
    return BLOCK_SIZES[text]


def _encrypted(text: str) -> bool:
    if text not in {"true", "false"}:
        raise Invalid(f"{text!r} is not one of true, false")
    return text == "true"


def _not_encrypted(text: str) -> bool:
    """Return False for "false", which is the only value that an inline volume may have.

    Raises: Invalid.
    """
    if _encrypted(text):
        raise Invalid("an inline volume cannot be encrypted; a claim's volume can")
    return False


def _size(text: str) -> Bytes:
    if not 0 < (size := parse_bytes(text)) <= LIMIT:
        raise Invalid(f"{text!r} is not a size that a volume can have")
    return size


def _per_second(text: str) -> int:
    """Return a number of operations per second: a plain number; 0 is no limit. Raises: Invalid."""
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > LIMIT:
        raise Invalid(f"{text!r} is not a whole number of operations per second; 0 is no limit")
    return int(text)


def _bytes_per_second(text: str) -> Bytes:
    if (amount := parse_bytes(text)) > LIMIT:
        raise Invalid(f"{text!r} is more than can be")
    return amount


CREATION: Final[dict[str, tuple[str, Reader]]] = {
    "pool": ("pool", _pool),
    "allocation": ("allocation", _allocation),
    FSTYPE: ("fs", _fs),
    "blockSize": ("block_size", _block_size),
    "encrypted": ("encrypted", _encrypted),
    **{option.key: (name, str) for name, option in OPTIONS.items()},
}
_NOT_IN_PODS: Final = {option.key for option in OPTIONS.values() if not option.in_pods}
# What pods may request. Not options of mkfs: those are for whoever makes StorageClasses.
_INLINE: Final[dict[str, tuple[str, Reader]]] = {
    "size": ("size", _size),
    **{key: reader for key, reader in CREATION.items() if key not in _NOT_IN_PODS},
    "encrypted": ("encrypted", _not_encrypted),
}
LIMITS: Final[dict[str, tuple[str, Reader]]] = {
    "readIops": ("read_iops", _per_second),
    "writeIops": ("write_iops", _per_second),
    "readBps": ("read_bps", _bytes_per_second),
    "writeBps": ("write_bps", _bytes_per_second),
}
_LIMITED: Final = {name for name, _ in LIMITS.values()}
