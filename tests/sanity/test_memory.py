"""csi-sanity on the simulator: no root, no kernel; protocol mistakes show in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sanity.conftest import Sanity
from tests.support.driver_process import DriverProcess


@pytest.mark.parametrize("kind", ["mount", "block"])
def test_all_specs_pass_twice_on_one_driver_that_is_not_root(
    sanity: Sanity, short_path: Path, ordinary: list[str], kind: str
) -> None:
    arguments = ["--max-volumes", "8"]
    with DriverProcess(
        short_path, ["sim=memory:1TiB"], arguments=arguments, wrap=ordinary
    ) as driver:
        assert _effective_capabilities(driver.pid) == 0 or not ordinary
        for _ in range(2):
            sanity.run(driver, f"--csi.testvolumeaccesstype={kind}", wrap=ordinary).check()
            assert list(driver.volumes()) == []
        assert driver.stop() == 0
    assert "Traceback" not in driver.log.read_text()


def _effective_capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("CapEff:")]
    return int(line.split()[1], 16)
