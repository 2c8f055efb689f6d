"""The cluster of `cellar route --nodes static:FILE`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from driver.app.cluster import static_cluster
from driver.core.errors import Invalid
from driver.router.nodes.directory import NodeState
from driver.tls import authority


def test_a_file_and_a_folder_of_certificates_make_a_cluster(tmp_path: Path) -> None:
    authority.create(tmp_path)
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text("nodes: [{name: a, address: 127.0.0.1:9501}]")
    cluster = static_cluster(nodes, tmp_path / "router")
    assert cluster.directory.node_state("a") is NodeState.EXPECTED
    assert cluster.problem() is None
    assert cluster.identities.identity.ca == (tmp_path / "ca.crt").read_bytes()
    assert not asyncio.run(cluster.abandon("volume v", "a"))  # type: ignore[arg-type]


def test_what_is_lacking_is_said_before_the_router_serves(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.yaml"
    with pytest.raises(Invalid, match=r"nodes\.yaml"):
        static_cluster(nodes, tmp_path)
    nodes.write_text("nodes: [{name: a, address: 127.0.0.1:9501}]")
    with pytest.raises(Invalid, match="--tls-dir is required"):
        static_cluster(nodes, None)
    with pytest.raises(Invalid, match=r"--tls-dir .*No such file"):
        static_cluster(nodes, tmp_path)
