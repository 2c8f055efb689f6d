"""values.schema.json and the driver agree on what a pool and a class may say: on names and values."""

from __future__ import annotations

import re
from typing import Any

import pytest

from driver.app.pool_spec import parse_pool
from driver.app.pools import find_pool_type
from driver.backends.lvm.provisioning import location
from driver.backends.lvm.volume_group import Groups
from driver.core.errors import CellarError, Invalid
from driver.core.options.storage_class_parameters import OPTIONS
from driver.core.ports.memory_records import MemoryRecords
from driver.csi import parameters
from tools import chart, chart_schema

SCHEMA = chart.SCHEMA.read_text(encoding="utf-8")
POOL = chart_schema.pool()
WHERES = {"loopfile": "/srv/fast", "lvm": "group", "memory": "10GiB"}
WORDS = (
    *(
        "thick",
        "sparse",
        "thin",
        "sparsee",
        "true",
        "false",
        "yes",
        "True",
        "",
        "0",
        "1",
        "2",
        "10",
    ),
    *("1.5", "-5", "0.0", "0.001", "00", "99", "100", "9999", "10000", "1.2345", "5%", "100%"),
    *("5.5%", "5 %", "10GiB", "10Gi", "10G", "10gb", "10 GiB", "ten", "1e6", "512", "4096", "1024"),
    *("ext4", "xfs", "btrfs", "zfs", "\u0663", "9" * 18),
    *("/dev/sda", "/dev/sda:/dev/disk/by-path/a:b", "/dev/../sda", "/dev/..:/dev/sda", "/a b"),
    *("sda:/dev/sda", "/..", "/dev/a..b", "a" * 32, "a" * 33, "-" * 32, f"{'a' * 16}-{'a' * 16}"),
    "PhTnbm-GtpU-abcd-0123-4567-89AB-CDEFgh",
)
VALUES: tuple[Any, ...] = (*WORDS, True, False, 0, 1, 2, -5, 1.5, 99, 100, 512, 9999, 10000)


def accepts(schema: Any, value: Any) -> bool:
    """As helm would say, of the few words of JSON Schema that the chart uses."""
    return all(_KEYWORDS[word](schema, value) for word in schema)


def _object(schema: Any, value: Any) -> bool:
    return not isinstance(value, dict) or all(
        _property(schema, key, one) for key, one in value.items()
    )


def _property(schema: Any, key: str, value: Any) -> bool:
    patterns = schema.get("patternProperties", {})
    rules = [rule for pattern, rule in patterns.items() if re.search(pattern, key)]
    rules += [schema["properties"][key]] if key in schema.get("properties", {}) else []
    if not rules and schema.get("additionalProperties") is False:
        return False
    return all(accepts(rule, value) for rule in rules)


_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
}


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _number(value: Any) -> bool:
    return _is("number", value)


_KEYWORDS: dict[str, Any] = {
    "type": lambda schema, value: _is(schema["type"], value),
    "enum": lambda schema, value: any(
        one == value and type(one) in {type(value), str} for one in map(_plain, schema["enum"])
    ),
    "const": lambda schema, value: schema["const"] == value,
    "pattern": lambda schema, value: (
        not isinstance(value, str) or re.search(schema["pattern"], value, re.ASCII) is not None
    ),
    "maxLength": lambda schema, value: len(value) <= schema["maxLength"],
    "minimum": lambda schema, value: not _number(value) or value >= schema["minimum"],
    "maximum": lambda schema, value: not _number(value) or value <= schema["maximum"],
    "minProperties": lambda schema, value: len(value) >= schema["minProperties"],
    "required": lambda schema, value: set(schema["required"]) <= set(value),
    "propertyNames": lambda schema, value: all(
        accepts(schema["propertyNames"], key) for key in value
    ),
    "properties": _object,
    "patternProperties": lambda _schema, _value: True,  # with properties
    "additionalProperties": lambda _schema, _value: True,  # the same
    "anyOf": lambda schema, value: any(accepts(one, value) for one in schema["anyOf"]),
    "allOf": lambda schema, value: all(accepts(one, value) for one in schema["allOf"]),
    "not": lambda schema, value: not accepts(schema["not"], value),
    "if": lambda schema, value: not accepts(schema["if"], value) or accepts(schema["then"], value),
    "then": lambda _schema, _value: True,  # with if
}


def _plain(one: Any) -> Any:
    return str(one) if isinstance(one, str) else one


def test_the_committed_schema_is_the_drivers() -> None:
    assert chart_schema.updated(SCHEMA) == SCHEMA, "make chart"


@pytest.mark.parametrize("option", chart_schema.READERS)
def test_an_option_has_the_values_that_the_driver_reads(option: str) -> None:
    rule = POOL["properties"][option]
    for value in VALUES:
        assert accepts(rule, value) is _reads(chart_schema.READERS[option], value), (option, value)


@pytest.mark.parametrize("key", [*parameters.CREATION, *parameters.LIMITS])
def test_a_parameter_has_the_values_that_the_driver_reads(key: str) -> None:
    if key == "pool" or any(
        option.key == key for option in OPTIONS.values()
    ):  # any text: what it names is known on the nodes only
        return
    tables = {**parameters.CREATION, **parameters.LIMITS}
    rule = chart_schema.class_parameters()["properties"][key]
    for value in VALUES:
        assert accepts(rule, value) is _reads(tables[key][1], value), (key, value)


def _reads(reader: Any, value: Any) -> bool:
    try:
        reader(str(value).lower() if isinstance(value, bool) else str(value))
    except (Invalid, ValueError):
        return False
    return True


@pytest.mark.parametrize("kind", WHERES)
@pytest.mark.parametrize("option", chart_schema.READERS)
def test_a_type_of_pool_has_the_options_that_the_driver_knows(kind: str, option: str) -> None:
    usual = {"allocation": "thick", "overcommit": "2", "reserve": "5%", "extend": "5%"}
    usual |= {"devices": "/dev/sda", "uuid": "0" * 32}
    value = usual.get(option, "1" if option in {"stripes", "mirrors"} else "true")
    given = {"name": "fast", "type": kind, "where": WHERES[kind], option: value}
    assert accepts(POOL, given) is _opens(f"fast={kind}:{WHERES[kind]},{option}={value}")


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        *(("loopfile", one) for one in ("/", "/srv/fast", "srv", "/srv/../etc", "/srv/..x", "a b")),
        *(("lvm", one) for one in ("group", "group/pool", "/dev/vg", "a/b/c", "a b", "..")),
        *(("memory", one) for one in ("10GiB", "10", "10 GiB", "ten", "/srv")),
    ],
)
def test_where_a_pool_is_has_the_form_that_the_driver_reads(kind: str, where: str) -> None:
    given = {"name": "fast", "type": kind, "where": where}
    assert accepts(POOL, given) is _opens(f"fast={kind}:{where}")


def _opens(text: str) -> bool:
    """Whether the driver would take it, as far as the text decides."""
    try:
        spec = parse_pool(text)
        pool = find_pool_type(spec).read(spec)
        if spec.type == "lvm":
            location.configure_provisioning(
                pool.name, pool.location, pool.options, Groups(MemoryRecords())
            )
    except (ValueError, CellarError):
        return False
    return True


@pytest.mark.parametrize("kind", ["loopfile", "memory"])
def test_a_pool_without_a_thin_pool_has_no_thin_volumes(kind: str) -> None:
    given = {"name": "fast", "type": kind, "where": WHERES[kind], "allocation": "thin"}
    assert not accepts(POOL, given)


def test_a_class_may_name_secrets_for_the_sidecars() -> None:
    secret = "csi.storage.k8s.io/node-stage-secret-name"
    assert accepts(chart_schema.class_parameters(), {secret: "key", "pool": "fast"})
    assert not accepts(chart_schema.class_parameters(), {"pol": "fast"})
    assert not accepts(chart_schema.attributes(), {"pool": "fast"})
    assert not accepts(chart_schema.attributes(), {})
