"""Settings: where they come from, and what is said when they cannot be."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from driver.app.load_settings import load
from driver.app.settings import ServeSettings
from driver.backends.pool_type import PoolSpec
from driver.core.errors import Invalid

FLAGS: dict[str, Any] = {"endpoint": "unix:///run/csi.sock", "pools": ["sim=memory:10GiB"]}


def loaded(environment: dict[str, str] | None = None, **flags: Any) -> ServeSettings:
    return load({**FLAGS, **flags}, environment or {})


def test_two_flags_are_enough() -> None:
    assert loaded() == ServeSettings(
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
    settings = load({"config": str(file)}, {"CELLAR_NODE_ID": "of-environment"})
    assert (settings.node_id, settings.max_volumes, settings.attach) == ("of-environment", 7, False)
    assert settings.pools == (
        PoolSpec("fast", "loopfile", "/srv/fast", {"allocation": "sparse"}),
        PoolSpec("sim", "memory", "10GiB", {"overcommit": "2", "reflink": "false"}),
    )
    settings = load({"node_id": "of-flag"}, {"CELLAR_NODE_ID": "x", "CELLAR_CONFIG": str(file)})
    assert settings.node_id == "of-flag"


def test_the_environment_alone_is_enough() -> None:
    environment = {
        "CELLAR_ENDPOINT": "/run/csi.sock",
        "CELLAR_POOLS": "a=memory:1GiB b=loopfile:/srv/b,reserve=5%",
        "CELLAR_METRICS": "127.0.0.1:9100",
        "CELLAR_ATTACH": "false",
        "CELLAR_FAILPOINT": "create.renamed",
        "CELLAR_LOG_LEVEL": "",
    }
    settings = load({"endpoint": None, "pools": None}, environment)
    assert [pool.name for pool in settings.pools] == ["a", "b"]
    assert settings.metrics == ("127.0.0.1", 9100)
    assert not settings.attach


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


def test_all_mistakes_are_reported_at_once() -> None:
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


def test_every_setting_has_a_flag_of_serve() -> None:
    from driver.cli.serve import _parser  # noqa: PLC0415 - imports the whole driver

    known = {action.dest for action in _parser()._actions} - {"help", "config"}
    assert known == set(ServeSettings.model_fields)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        loaded().attach = False


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
