"""csi-sanity on logical volumes, thick and thin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lvm.conftest import layers, named, volumes
from tests.sanity.conftest import Sanity
from tests.support.driver_process import DriverProcess

# Thick snapshots are copies: one of the usual 10 GiB takes longer than a call of csi-sanity waits.
SIZES = (f"--csi.testvolumesize={64 << 20}", f"--csi.testvolumeexpandsize={128 << 20}")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["mount", pytest.param("block", marks=pytest.mark.slow)])
def test_all_specs_pass_and_leave_nothing(
    sanity: Sanity, short_path: Path, location: str, kind: str
) -> None:
    thin = "/" in location
    options, sizes = (",overcommit=20", ()) if thin else ("", SIZES)
    spec = f"vg=lvm:{location}{options},devices={':'.join(named())}"
    with DriverProcess(short_path, [spec], arguments=["--max-volumes", "8"]) as driver:
        sanity.run(
            driver, f"--csi.testvolumeaccesstype={kind}", *sizes, wrap=[], timeout=1500
        ).check()
        assert list(driver.volumes()) == []
        assert driver.stop() == 0
    assert "Traceback" not in driver.log.read_text()
    assert volumes(location) == []
    assert layers() == []
