"""The grammar of --pool."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.app.load_settings import load
from driver.app.pool_spec import parse_pool
from driver.backends.pool_type import PoolSpec


def test_the_grammar_of_a_pool() -> None:
    text = "fast=loopfile:/srv/fast,allocation=sparse,overcommit=2,reserve=5%"
    assert parse_pool(text) == PoolSpec(
        "fast",
        "loopfile",
        "/srv/fast",
        {"allocation": "sparse", "overcommit": "2", "reserve": "5%"},
    )
    assert parse_pool("x=loopfile:/a:b=c").location == "/a:b=c"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a=b",
        "=memory:1",
        "a=:1",
        "a=memory:",
        "a b=memory:1",
        "../a=memory:1",
        "-a=memory:1",
        "a=memory:1,x",
        "a=memory:1,x=1,x=2",
        "a=Memory:1",
    ],
)
def test_what_is_not_in_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=TYPE:WHERE|write x=|given twice"):
        parse_pool(text)


@given(st.text(max_size=40))
def test_any_text_is_a_pool_or_a_value_error(text: str) -> None:
    try:
        spec = parse_pool(text)
    except ValueError:
        return
    assert text.startswith(f"{spec.name}={spec.type}:{spec.location}")


def test_devices_in_a_file_may_be_a_list(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "pools: [{name: vg, type: lvm, where: cellar, devices: [/dev/sdb, /dev/sdc]}]\n"
    )
    [pool] = load({"endpoint": "unix:///run/csi.sock", "config": file}, {}).pools
    assert pool.options == {"devices": "/dev/sdb:/dev/sdc"}
