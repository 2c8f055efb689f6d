"""The settings of `serve` and `route`: what is accepted, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from driver.app.cluster_settings import StaticNodes
from driver.app.load_settings import load, load_route
from driver.core.errors import Invalid
from tests.unit.app.flags import loaded

ROUTE = {"endpoint": "unix:///run/c.sock", "nodes": "static:/etc/nodes.yaml", "tls_dir": "/tls"}
SERVE = {"endpoint": "unix:///run/c.sock", "pools": ["sim=memory:1GiB"]}


def test_a_router_needs_nodes_and_certificates() -> None:
    settings = load_route(ROUTE, {})
    assert (settings.nodes, settings.tls_dir) == (
        StaticNodes(Path("/etc/nodes.yaml")),
        Path("/tls"),
    )
    assert settings.driver_name == "cellar.csi.internal"
    assert settings.attach
    with pytest.raises(Invalid, match="--nodes is required"):
        load_route({"endpoint": "unix:///run/c.sock"}, {})
    with pytest.raises(Invalid, match="--tls-dir is required with --nodes static:FILE"):
        load_route(ROUTE | {"tls_dir": None}, {})


def test_kubelet_looks_for_the_socket_where_it_is_by_default() -> None:
    flags = {"pools": ["sim=memory:1GiB"], "kubelet_dir": "/var/lib/kubelet", "node_id": "n"}
    settings = load(flags, {})
    assert settings.endpoint == Path("/var/lib/kubelet/plugins/cellar.csi.internal/csi.sock")
    assert settings.kubelet_dir == Path("/var/lib/kubelet")
    own = load(flags | {"endpoint": "unix:///run/c.sock"}, {"CELLAR_DRIVER_NAME": "x.y"})
    assert own.endpoint == Path("/run/c.sock")
    with pytest.raises(Invalid, match="--kubelet-dir: 'k' is not an absolute path"):
        load(flags | {"kubelet_dir": "k"}, {})


def test_a_socket_that_no_kubelet_could_open_is_named_at_once() -> None:
    """<linux/un.h>: 108 bytes with the NUL."""
    flags = {"pools": ["sim=memory:1GiB"], "node_id": "n", "endpoint": "unix:///run/c.sock"}
    fits = 107 - len("/plugins_registry/cellar.csi.internal-reg.sock") - 1
    assert load(flags | {"kubelet_dir": "/" + "k" * fits}, {}).kubelet_dir
    with pytest.raises(Invalid, match=r"reg.sock has more than 107 bytes"):
        load(flags | {"kubelet_dir": "/" + "k" * (fits + 1)}, {})
    del flags["endpoint"]
    with pytest.raises(Invalid, match=r"--endpoint: the path .*csi.sock has more than 107 bytes"):
        load(flags | {"kubelet_dir": "/" + "k" * 80}, {})


def test_a_port_is_never_open_to_all() -> None:
    both = {"listen": "[::1]:9501", "tls_dir": "/tls"}
    assert load(SERVE | both, {}).listen == ("::1", 9501)
    assert load(SERVE, {}).listen is None
    for name, value in both.items():
        with pytest.raises(Invalid, match=r"^--listen and --tls-dir go together"):
            load(SERVE | {name: value}, {})


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
