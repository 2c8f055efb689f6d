"""The settings of `cellar route`, of a node's port, and `cellar certs`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger
from typer.testing import CliRunner

from driver import config
from driver.cli import daemon, main, route
from driver.cluster import tls
from driver.core.errors import Invalid

ROUTE = {"endpoint": "unix:///run/c.sock", "nodes": "static:/etc/nodes.yaml", "tls_dir": "/tls"}
SERVE = {"endpoint": "unix:///run/c.sock", "pools": ["sim=memory:1GiB"]}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("CELLAR_")]:
        monkeypatch.delenv(name)
    yield
    logger.remove()


def test_a_router_needs_nodes_and_certificates() -> None:
    found = config.load_route(ROUTE, {})
    assert (found.nodes, found.tls_dir) == (Path("/etc/nodes.yaml"), Path("/tls"))
    assert found.driver_name == "cellar.csi.internal"
    assert found.attach
    with pytest.raises(Invalid, match="--nodes is required; --tls-dir is required"):
        config.load_route({"endpoint": "unix:///run/c.sock"}, {})


def test_the_environment_is_read_for_a_router_too() -> None:
    variables = {"CELLAR_NODES": "static:n", "CELLAR_TLS_DIR": "t", "CELLAR_POOLS": "ignored"}
    found = config.load_route({"endpoint": "unix:///s"}, variables)
    assert (found.nodes, found.tls_dir) == (Path("n"), Path("t"))


@pytest.mark.parametrize("nodes", ["kubernetes", "static:", "/etc/nodes.yaml"])
def test_a_directory_that_is_none_is_named(nodes: str) -> None:
    with pytest.raises(Invalid, match=r"--nodes: .* is not static:FILE"):
        config.load_route(ROUTE | {"nodes": nodes}, {})


def test_a_port_is_never_open_to_all() -> None:
    both = {"listen": "[::1]:9501", "tls_dir": "/tls"}
    assert config.load(SERVE | both, {}).listen == ("::1", 9501)
    assert config.load(SERVE, {}).listen is None
    for name, value in both.items():
        with pytest.raises(Invalid, match=r"^--listen and --tls-dir go together"):
            config.load(SERVE | {name: value}, {})


def test_every_setting_has_a_flag_of_route() -> None:
    known = {action.dest for action in route._parser()._actions} - {"help", "config"}
    assert known == set(config._RouteSettings.model_fields)


@pytest.mark.parametrize("nodes", ["absent", "bad"])
def test_a_router_that_cannot_begin_says_why_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nodes: str
) -> None:
    (tmp_path / "bad").write_text("nodes: 3")
    words = ["--endpoint", f"unix://{tmp_path}/s", "--nodes", f"static:{tmp_path / nodes}"]
    assert main.main(["route", *words, "--tls-dir", str(tmp_path)]) == daemon.BAD_SETTINGS
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cellar route: {tmp_path / nodes}: ")


def test_certs_makes_folders_that_are_ready(tmp_path: Path) -> None:
    app = main._app(["certs"])
    result = CliRunner().invoke(app, ["certs", str(tmp_path / "tls")])
    assert result.exit_code == 0
    for name in ("router", "node"):
        assert tls.Files(tmp_path / "tls" / name).identity.key
    (tmp_path / "tls/ca.crt").unlink()
    result = CliRunner().invoke(app, ["certs", str(tmp_path / "tls")])
    assert result.exit_code == 1
    assert "is missing" in result.stderr
