"""Settings: where they come from, and what is said when they cannot be."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.app import config
from driver.app.config import Config, PoolSpec, load, parse_pool
from driver.backends.lvm import options as lvm_options
from driver.core.errors import Invalid
from driver.core.model import GIB, Allocation

FLAGS: dict[str, Any] = {"endpoint": "unix:///run/csi.sock", "pools": ["sim=memory:10GiB"]}


def loaded(environment: dict[str, str] | None = None, **flags: Any) -> Config:
    return load({**FLAGS, **flags}, environment or {})


def test_two_flags_are_enough() -> None:
    assert loaded() == Config(
        endpoint=Path("/run/csi.sock"),
        node_id=socket.gethostname(),
        pools=(PoolSpec("sim", "memory", "10GiB", {}),),
        max_volumes=0,
        metrics=None,
        driver_name="cellar.csi.internal",
        topology_key="cellar.csi.internal/node",
        attach=True,
        log_level="info",
        log_format="text",
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("pbkdf=pbkdf2,iterations=1000", ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000"]),
        ("pbkdf=pbkdf2", ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=600000"]),
        ({"memory": "1GiB", "iterations": 5}, ["--pbkdf-memory=1048576", "iterations=5"]),
        ("memory=32MiB", ["--pbkdf=argon2id", "--pbkdf-memory=32768", "iterations=4"]),
    ],
)
def test_what_a_guess_at_a_passphrase_costs(given: object, words: list[str]) -> None:
    said = " ".join(loaded(luks=given).luks.words())
    assert all(word in said for word in words)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("argon2id", "key=value"),
        ("pbkdf=argon2i", "argon2id or pbkdf2"),
        ("pbkdf=pbkdf2,iterations=999", "at least 1000"),
        ("iterations=3", "at least 4"),
        ("iterations=-1", "at least 4"),
        ("memory=1KiB", "between 32KiB and 4GiB"),
        ("memory=much", "memory"),
        ("cost=1", "unknown cost; known: iterations, memory, pbkdf"),
    ],
)
def test_a_cost_that_cannot_be_is_refused(given: str, says: str) -> None:
    with pytest.raises(Invalid, match=f"^--luks: .*{says}"):
        loaded(luks=given)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cellar.yaml"
    file.write_text(
        "endpoint: unix:///run/file.sock\n"
        "node-id: of-file\n"
        "max-volumes: 7\n"
        "attach: false\n"
        "pools:\n"
        "- fast=loopfile:/srv/fast,allocation=sparse\n"
        "- {name: sim, type: memory, where: 10GiB, overcommit: 2, reflink: false}\n"
    )
    found = load({"config": str(file)}, {"CELLAR_NODE_ID": "of-environment"})
    assert (found.node_id, found.max_volumes, found.attach) == ("of-environment", 7, False)
    assert found.pools == (
        PoolSpec("fast", "loopfile", "/srv/fast", {"allocation": "sparse"}),
        PoolSpec("sim", "memory", "10GiB", {"overcommit": "2", "reflink": "false"}),
    )
    found = load({"node_id": "of-flag"}, {"CELLAR_NODE_ID": "x", "CELLAR_CONFIG": str(file)})
    assert found.node_id == "of-flag"


def test_the_environment_alone_is_enough() -> None:
    environment = {
        "CELLAR_ENDPOINT": "/run/csi.sock",
        "CELLAR_POOLS": "a=memory:1GiB b=loopfile:/srv/b,reserve=5%",
        "CELLAR_METRICS": "127.0.0.1:9100",
        "CELLAR_ATTACH": "false",
        "CELLAR_FAILPOINT": "create.renamed",
        "CELLAR_LOG_LEVEL": "",
    }
    found = load({"endpoint": None, "pools": None}, environment)
    assert [pool.name for pool in found.pools] == ["a", "b"]
    assert found.metrics == ("127.0.0.1", 9100)
    assert not found.attach


@pytest.mark.parametrize(
    "text", ["unix:///run/csi.sock", "unix:/run/csi.sock", "/run/csi.sock", "unix:////run/csi.sock"]
)
def test_a_socket_may_be_written_as_everybody_writes_it(text: str) -> None:
    assert loaded(endpoint=text).endpoint == Path("/run/csi.sock")


def test_a_path_with_a_colon_is_a_path() -> None:
    assert loaded(endpoint="unix:///run/a:b.sock").endpoint == Path("/run/a:b.sock")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"endpoint": None}, "--endpoint is required"),
        ({"endpoint": "tcp://127.0.0.1:1"}, "--endpoint: .*write unix:///PATH"),
        ({"endpoint": "csi.sock"}, "--endpoint: .*write unix:///PATH"),
        ({"endpoint": "unix:///" + "x" * 107}, "--endpoint: .*more than 107 bytes"),
        ({"pools": None}, "--pool is required"),
        ({"pools": []}, "--pool"),
        ({"pools": ["fast"]}, "--pool: 'fast' is not NAME=TYPE:WHERE"),
        ({"pools": ["a=memory:1GiB", "a=memory:2GiB"]}, "--pool: two pools have the same name: a"),
        (
            {"pools": ["a=loopfile:/srv/x", "b=loopfile:/srv//x/"]},
            "--pool: two pools have the same place: /srv/x",
        ),
        ({"node_id": "-a"}, "--node-id: '-a' is not a node's name"),
        ({"node_id": "x" * 64}, "--node-id"),
        ({"max_volumes": "-1"}, "--max-volumes: .*greater than or equal to 0"),
        ({"max_volumes": "many"}, "--max-volumes: .*valid integer"),
        ({"metrics": "9100"}, "--metrics: '9100' is not HOST:PORT"),
        ({"metrics": "localhost:99999"}, "--metrics: .*HOST:PORT"),
        ({"driver_name": "1.driver"}, "--driver-name"),
        ({"topology_key": "a/b/c"}, "--topology-key"),
        ({"log_level": "loud"}, "--log-level: .*'debug', 'info', 'warning' or 'error'"),
        ({"log_format": "xml"}, "--log-format"),
    ],
)
def test_what_cannot_be_is_named_with_the_cure(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        loaded(**flags)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        loaded(max_volumes="x", log_level="y")
    assert "--max-volumes" in str(caught.value)
    assert "--log-level" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sizes: 1\n", "unknown setting 'sizes'; known: endpoint, node-id, pools"),
        ("[1, 2]\n", "a mapping is expected"),
        ("a: [\n", "--config .*while parsing"),
        ("pools: [{name: a}]\n", "a pool is NAME=TYPE:WHERE"),
        ("pools: [{name: '../a', type: memory, where: 1GiB}]\n", "is not NAME=TYPE:WHERE"),
    ],
)
def test_a_file_that_cannot_be_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "cellar.yaml"
    file.write_text(text)
    flags = {} if "pools" in text else FLAGS
    with pytest.raises(Invalid, match=says):
        load({**flags, "config": str(file)}, {"CELLAR_ENDPOINT": "/s"})


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(Invalid, match=r"--config /no/such: .*No such file"):
        loaded(config="/no/such")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9100", ("127.0.0.1", 9100)),
        (":9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_an_address_may_be_written_as_everybody_writes_it(
    text: str, address: tuple[str, int]
) -> None:
    assert loaded(metrics=text).metrics == address


# pools


def test_the_grammar_of_a_pool() -> None:
    text = "fast=loopfile:/srv/fast,allocation=sparse,overcommit=2,reserve=5%"
    assert parse_pool(text) == PoolSpec(
        "fast",
        "loopfile",
        "/srv/fast",
        {"allocation": "sparse", "overcommit": "2", "reserve": "5%"},
    )
    assert parse_pool("x=loopfile:/a:b=c").where == "/a:b=c"


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
    assert text.startswith(f"{spec.name}={spec.type}:{spec.where}")


@dataclass(frozen=True, kw_only=True)
class Options:
    allocation: Allocation = Allocation.THICK
    overcommit: float = 1.0
    reserve: str = "0"
    init: bool = False
    clock: Any = None  # not an option that a person can give


def test_options_fill_in_a_backends_own_dataclass() -> None:
    spec = parse_pool("a=memory:1GiB,allocation=sparse,overcommit=1.5,reserve=10GiB,init=true")
    assert spec.options_as(Options) == Options(
        allocation=Allocation.SPARSE, overcommit=1.5, reserve="10GiB", init=True
    )
    assert spec.size() == GIB


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
        parse_pool(f"a=memory:1GiB,{option}").options_as(Options)


def test_where_is_what_the_type_needs() -> None:
    assert parse_pool("a=loopfile:/srv/a").path() == Path("/srv/a")
    for where in ("srv/a", "/srv/../etc"):
        with pytest.raises(Invalid, match=r"pool a: .*not an absolute path"):
            parse_pool(f"a=loopfile:{where}").path()
    with pytest.raises(Invalid, match="pool a: '/srv' is not a size"):
        parse_pool("a=memory:/srv").size()


def test_every_setting_has_a_flag_of_serve() -> None:
    from driver.cli.serve import _parser  # noqa: PLC0415 - imports the whole driver

    known = {action.dest for action in _parser()._actions} - {"help", "config"}
    assert known == set(config._Settings.model_fields)


def test_the_state_directory_is_where_each_user_may_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert loaded(state_dir="/srv/state").state_dir == Path("/srv/state")
    assert loaded({"CELLAR_STATE_DIR": "/srv/x"}).state_dir == Path("/srv/x")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert loaded().state_dir == Path("/var/lib/cellar")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert loaded().state_dir == tmp_path / "cellar"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/u")
    assert loaded().state_dir == Path("/home/u/.local/state/cellar")
    with pytest.raises(Invalid, match=r"^--state-dir: 'x' is not an absolute path"):
        loaded(state_dir="x")


BY_PATH = "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"
UUID = "PhTnbm-GtpU-abcd-0123-4567-89AB-CDEFgh"


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("/dev/sdb", ("/dev/sdb",)),
        (f"{BY_PATH}:/srv/lvm.img:/dev/nvme*", (BY_PATH, "/srv/lvm.img", "/dev/nvme*")),
    ],
)
def test_devices_are_paths_whatever_is_in_them(text: str, devices: tuple[str, ...]) -> None:
    pool = parse_pool(f"vg=lvm:cellar,devices={text}")
    assert pool.options_as(lvm_options.Options).devices == devices


def test_devices_in_a_file_may_be_a_list(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "pools: [{name: vg, type: lvm, where: cellar, devices: [/dev/sdb, /dev/sdc]}]\n"
    )
    [pool] = load({"endpoint": "unix:///run/csi.sock", "config": file}, {}).pools
    assert pool.options_as(lvm_options.Options).devices == ("/dev/sdb", "/dev/sdc")


@pytest.mark.parametrize("text", [UUID, UUID.replace("-", "")])
def test_the_uuid_of_a_group_is_read_with_and_without_dashes(text: str) -> None:
    assert parse_pool(f"vg=lvm:cellar,uuid={text}").options_as(lvm_options.Options).uuid == UUID


@pytest.mark.parametrize(
    "option", ["devices=sdb", "devices=/dev/../sdb", "devices=", "uuid=1", "uuid=cellar", "uuid="]
)
def test_devices_and_uuids_that_are_none_are_refused(option: str) -> None:
    with pytest.raises(Invalid, match=option.partition("=")[0]):
        parse_pool(f"vg=lvm:cellar,{option}").options_as(lvm_options.Options)
