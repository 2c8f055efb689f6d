"""The settings of `cellar route`, of a node's port, and `cellar certs`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger
from typer.testing import CliRunner

from driver.app.cluster_settings import KubernetesNodes, StaticNodes
from driver.app.load_settings import load, load_route
from driver.app.settings import RouteSettings
from driver.cli import flags, main, route
from driver.core.errors import Invalid
from driver.tls import identity

ROUTE = {"endpoint": "unix:///run/c.sock", "nodes": "static:/etc/nodes.yaml", "tls_dir": "/tls"}
SERVE = {"endpoint": "unix:///run/c.sock", "pools": ["sim=memory:1GiB"]}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("CELLAR_")]:
        monkeypatch.delenv(name)
    yield
    logger.remove()


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


def test_the_environment_is_read_for_a_router_too() -> None:
    variables = {"CELLAR_NODES": "static:n", "CELLAR_TLS_DIR": "t", "CELLAR_POOLS": "ignored"}
    settings = load_route({"endpoint": "unix:///s"}, variables)
    assert (settings.nodes, settings.tls_dir) == (StaticNodes(Path("n")), Path("t"))


@pytest.mark.parametrize(
    ("given", "service", "namespace"),
    [
        ("kubernetes", "cellar-node", None),
        ("kubernetes:nodes", "nodes", None),
        ("kubernetes:storage/nodes", "nodes", "storage"),
    ],
)
def test_a_cluster_needs_no_files(given: str, service: str, namespace: str | None) -> None:
    settings = load_route({"endpoint": "unix:///s", "nodes": given}, {})
    assert settings.nodes == KubernetesNodes(service, namespace)
    assert (settings.tls_dir, settings.objects) == (None, "cellar")
    assert (settings.node_gone_after, settings.node_gone_policy) == (900.0, "retain")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)]
)
def test_a_span_of_time_has_a_unit(text: str, seconds: float) -> None:
    flags = {"endpoint": "unix:///s", "nodes": "kubernetes", "node_gone_after": text}
    assert load_route(flags, {}).node_gone_after == seconds


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("node_gone_after", "soon"),
        ("node_gone_after", "-1"),
        ("node_gone_policy", "delete"),
        ("objects", "No/Name"),
    ],
)
def test_a_setting_of_the_cluster_that_cannot_be_is_named(setting: str, value: str) -> None:
    flags = {"endpoint": "unix:///s", "nodes": "kubernetes", setting: value}
    with pytest.raises(Invalid, match=f"--{setting.replace('_', '-')}: "):
        load_route(flags, {})


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


@pytest.mark.parametrize("nodes", ["kubernetes:A/b", "static:", "/etc/nodes.yaml"])
def test_a_directory_that_is_none_is_named(nodes: str) -> None:
    with pytest.raises(Invalid, match=r"--nodes: .* is not static:FILE or kubernetes"):
        load_route(ROUTE | {"nodes": nodes}, {})


def test_a_port_is_never_open_to_all() -> None:
    both = {"listen": "[::1]:9501", "tls_dir": "/tls"}
    assert load(SERVE | both, {}).listen == ("::1", 9501)
    assert load(SERVE, {}).listen is None
    for name, value in both.items():
        with pytest.raises(Invalid, match=r"^--listen and --tls-dir go together"):
            load(SERVE | {name: value}, {})


def test_every_setting_has_a_flag_of_route() -> None:
    known = {action.dest for action in route._parser()._actions} - {"help", "config"}
    assert known == set(RouteSettings.model_fields)


@pytest.mark.parametrize("nodes", ["absent", "bad"])
def test_a_router_that_cannot_begin_says_why_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nodes: str
) -> None:
    (tmp_path / "bad").write_text("nodes: 3")
    words = ["--endpoint", f"unix://{tmp_path}/s", "--nodes", f"static:{tmp_path / nodes}"]
    assert main.main(["route", *words, "--tls-dir", str(tmp_path)]) == flags.BAD_SETTINGS
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cellar route: {tmp_path / nodes}: ")


def test_certs_makes_folders_that_are_ready(tmp_path: Path) -> None:
    app = main.app("certs")
    result = CliRunner().invoke(app, ["certs", str(tmp_path / "tls")])
    assert result.exit_code == 0
    for name in ("router", "node"):
        assert identity.Files(tmp_path / "tls" / name).identity.key
    (tmp_path / "tls/ca.crt").unlink()
    result = CliRunner().invoke(app, ["certs", str(tmp_path / "tls")])
    assert result.exit_code == 1
    assert "is missing" in result.stderr
