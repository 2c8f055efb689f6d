"""Settings: where they come from, and what is said when they cannot be."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from driver.app.cluster_settings import StaticNodes
from driver.app.load_settings import load, load_route
from driver.app.settings import ServeSettings
from driver.backends.pool_type import PoolSpec
from driver.core.errors import Invalid
from tests.unit.app.flags import FLAGS, loaded


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


def test_the_environment_is_read_for_a_router_too() -> None:
    variables = {"CELLAR_NODES": "static:n", "CELLAR_TLS_DIR": "t", "CELLAR_POOLS": "ignored"}
    settings = load_route({"endpoint": "unix:///s"}, variables)
    assert (settings.nodes, settings.tls_dir) == (StaticNodes(Path("n")), Path("t"))
