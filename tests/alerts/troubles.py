"""Which alerts fire while which trouble is there, and which are not caused here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from tests.alerts.disk_troubles import (
    broken_volumes,
    copy_that_fails,
    copy_that_hangs,
    disks_that_hang,
    full_pool,
    pool_unmounted,
    small_blocks,
    snapshot_on_hanging_disk,
)
from tests.alerts.process_troubles import (
    api_server_fails,
    driver_killed,
    kubelet_refuses,
    node_killed,
    old_certificate,
    state_full,
    volume_unnamed,
)
from tests.alerts.trouble import Trouble
from tests.support.node import Node

Scene = Callable[[Node], AbstractContextManager[Trouble]]
# Which alerts fire while which trouble is there.
TROUBLES: Final[Mapping[Scene, frozenset[str]]] = {
    disks_that_hang: frozenset({"CellarPoolDoesNotAnswer", "CellarCallsSlow"}),
    broken_volumes: frozenset(
        {
            "CellarVolumeUnhealthy",
            "CellarFilesystemErrors",
            "CellarVolumeReadOnly",
            "CellarVolumeNearlyFull",
        }
    ),
    full_pool: frozenset({"CellarPoolNearlyFull", "CellarPoolFillsUp"}),
    pool_unmounted: frozenset({"CellarPoolUnavailable", "CellarCallsFail"}),
    small_blocks: frozenset({"CellarDirectIoLost"}),
    copy_that_hangs: frozenset({"CellarCopyStuck"}),
    copy_that_fails: frozenset({"CellarCopiesFail"}),
    snapshot_on_hanging_disk: frozenset({"CellarFilesystemFrozen"}),
    driver_killed: frozenset({"CellarDriverDown"}),
    volume_unnamed: frozenset({"CellarOrphanVolumes"}),
    state_full: frozenset({"CellarStateNotWritten"}),
    old_certificate: frozenset({"CellarCertificateExpires"}),
    node_killed: frozenset({"CellarNodeUnavailable", "CellarRouterWithoutNodes"}),
    kubelet_refuses: frozenset({"CellarNotRegistered"}),
    api_server_fails: frozenset({"CellarWatchInterrupted"}),
}
# Which alerts no trouble here makes fire, and why. tests/chart has all of them, with made-up series.
NOT_CAUSED: Final[Mapping[str, str]] = {
    "CellarPoolDataNearlyFull": (
        "logical volumes, which need device-mapper: in the virtual machine of make test-lvm, where"
        " tests/lvm/test_thin_usage.py fills a thin pool and reads what the metric is made of"
    ),
}
