"""The StorageClass parameters that are stored with a volume: how each is parsed and stored.

A new one needs a field of `VolumeOptions`, an entry in `OPTIONS`, and the code that uses it.
Requests, records, LVM tags, the comparison of a repeated call and the chart's schema are derived
from the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from driver.core.model import FsType, VolumeOptions
from driver.core.options.mkfs_options import parse_mkfs_options

_DEFAULTS: Final = VolumeOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One StorageClass parameter. `key`: its name in a StorageClass and in a record; `tag`: its
    name in LVM tags, a single unused letter because tags have to be short.

    `parse`: parses the parameter for a volume with this filesystem (None: raw block); raises
    Invalid. `dump`, `load`: convert to and from the text in a record. `in_pods`: whether a pod
    may use the parameter for its inline volume. `form`: a regular expression of the accepted
    values, for the chart's schema that helm checks; "" for any text.
    """

    key: str
    tag: str
    parse: Callable[[FsType | None, str], Any]
    dump: Callable[[Any], str]
    load: Callable[[str], Any]
    in_pods: bool = False
    form: str = ""


# By the field of VolumeOptions.
OPTIONS: Final[Mapping[str, Option]] = {
    "mkfs_options": Option(
        key="mkfsOptions",
        tag="m",
        parse=parse_mkfs_options,
        dump=" ".join,
        load=lambda text: tuple(text.split()),
    ),
}


def parse_options(parameters: Mapping[str, str], fs: FsType | None) -> VolumeOptions:
    """Return the options in the StorageClass `parameters` for a volume with `fs` (None: raw block).

    Raises: Invalid, whose text names the parameter.
    """
    return VolumeOptions(
        **{field: OPTIONS[field].parse(fs, text) for field, text in parameters.items()}
    )


def dump_options(options: VolumeOptions) -> dict[str, str]:
    """Return `options` as the fields of a volume's record, without those that have their default
    value.
    """
    return {
        OPTIONS[field].key: OPTIONS[field].dump(value)
        for field, value in _values(options)
        if value != getattr(_DEFAULTS, field)
    }


def load_options(record: Mapping[str, str]) -> VolumeOptions:
    """Return the options in the fields of a volume's record. Raises: ValueError: a field is
    malformed.
    """
    return VolumeOptions(
        **{
            field: option.load(record[option.key])
            for field, option in OPTIONS.items()
            if option.key in record
        }
    )


def option_differences(present: VolumeOptions, requested: VolumeOptions) -> Iterator[str]:
    """Yield, as texts, how a volume's options differ from the requested ones."""
    for field, value in _values(requested):
        if value not in {getattr(_DEFAULTS, field), getattr(present, field)}:
            option = OPTIONS[field]
            has = option.dump(getattr(present, field))
            yield f"its {option.key} is {has!r}, not {option.dump(value)!r}"


def _values(options: VolumeOptions) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each field."""
    return ((field.name, getattr(options, field.name)) for field in fields(options))
