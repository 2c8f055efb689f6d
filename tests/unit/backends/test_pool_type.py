"""How a pool's configuration is read by its type, and what is said when it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from driver.app.pool_spec import parse_pool
from driver.backends.option_readers import (
    read_allocation,
    read_boolean,
    read_overcommit,
    read_reserve,
)
from driver.backends.pool_type import ConfiguredPool, PoolType
from driver.core.errors import Invalid
from driver.core.model import GIB, Allocation
from driver.core.quantity import parse_bytes


@dataclass(frozen=True, kw_only=True)
class Options:
    allocation: Allocation = Allocation.THICK
    overcommit: float = 1.0
    reserve: str = "0"
    init: bool = False
    clock: Any = None  # not an option that a person can give


TYPE = PoolType(
    name="memory",
    read_location=parse_bytes,
    options=Options,
    readers={
        "allocation": read_allocation,
        "overcommit": read_overcommit,
        "reserve": read_reserve,
        "init": read_boolean,
    },
    open=lambda _pool, _node: pytest.fail("nothing is opened"),
)


def test_options_fill_in_a_backends_own_dataclass() -> None:
    spec = parse_pool("a=memory:1GiB,allocation=sparse,overcommit=1.5,reserve=10GiB,init=true")
    options = Options(allocation=Allocation.SPARSE, overcommit=1.5, reserve="10GiB", init=True)
    assert TYPE.read(spec) == ConfiguredPool("a", GIB, options)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (
            "clock=1",
            "unknown option clock; memory pools have allocation, overcommit, reserve, init",
        ),
        ("reflink=true", "unknown option reflink"),
        ("allocation=fat", "allocation='fat': one of thick, sparse"),
        ("overcommit=0", "overcommit='0': a number above 0"),
        ("overcommit=inf", "overcommit='inf'"),
        ("overcommit=-1", "overcommit='-1'"),
        ("reserve=5 %", "reserve: '5 %' is not a size"),
        ("reserve=101%", "reserve: '101%' is not a size"),
        ("init=yes", "init='yes': true or false"),
    ],
)
def test_a_bad_option_is_named_with_its_pool(option: str, says: str) -> None:
    with pytest.raises(Invalid, match=f"^pool a: {says}"):
        TYPE.read(parse_pool(f"a=memory:1GiB,{option}"))


def test_a_location_that_the_type_cannot_read_is_named_with_its_pool() -> None:
    with pytest.raises(Invalid, match="pool a: '/srv' is not a size"):
        TYPE.read(parse_pool("a=memory:/srv"))
