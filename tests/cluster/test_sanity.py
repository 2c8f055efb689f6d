"""csi-sanity through routers over three nodes, which it takes for one driver."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.machines import RoutedCluster
from tests.cluster.one_driver import as_one_driver
from tests.sanity.conftest import Sanity
from tests.support.driver_process import ROOT

pytestmark = pytest.mark.sanity
POOLS = {name: ["sim=memory:1TiB"] for name in ("a", "b", "c")}


@pytest.fixture
def cluster() -> Iterator[RoutedCluster]:
    with tempfile.TemporaryDirectory(prefix="cl-") as name:
        with RoutedCluster(Path(name), POOLS, arguments=["--max-volumes", "8"]) as cluster:
            yield cluster
            for driver in (*cluster.nodes.values(), cluster.router):
                assert driver.stop() == 0
        assert not [log for log in Path(name).rglob("*.log") if "Traceback" in log.read_text()]


@pytest.fixture
def sanity(cluster: RoutedCluster) -> Sanity:
    program = ROOT / ".cache/bin/csi-sanity"
    if not program.exists():
        path = shutil.which("csi-sanity")
        assert path, "csi-sanity v5.6.0 is needed: `make sanity` installs it"
        program = Path(path)
    return Sanity(program, cluster.where)


@pytest.mark.parametrize("kind", ["mount", "block"])
def test_all_specs_pass_with_calls_that_alternate_between_two_routers(
    cluster: RoutedCluster, sanity: Sanity, kind: str
) -> None:
    nodes, routers = list(cluster.nodes.values()), [cluster.router, cluster.another()]
    with as_one_driver(cluster.where, nodes, routers) as endpoint:
        arguments = [f"--csi.endpoint={endpoint}", f"--csi.testvolumeaccesstype={kind}"]
        sanity.run(nodes[0], *arguments, wrap=[]).check()
    assert [driver.volumes() for driver in (*nodes, *routers)] == [[]] * 5
    for driver in (*nodes, *routers):  # so that it was one driver, made of all of them
        assert "CreateVolume OK" in driver.log.read_text()
