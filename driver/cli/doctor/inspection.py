"""The checks that `cellar doctor` makes: of the machine, of configured pools, of a running
driver.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from csi_proto import csi_pb2 as csi
from driver.app.pools import find_pool_type
from driver.cli.client import CallFailed, Client
from driver.cli.doctor import checks
from driver.cli.pool_options import load_settings
from driver.core.errors import Invalid
from driver.core.findings import Finding, ok, problem, warning
from driver.core.model import FsType
from driver.linux.formats import luks
from driver.linux.io_limits.enforcement import LinuxIoLimits
from driver.linux.mounts.table import mountinfo
from driver.linux.state.node_state import node_state


def check_machine(kubelet_dir: Path) -> Iterator[Finding]:
    """Yield the findings about this machine."""
    release = os.uname().release
    known = Path("/proc/filesystems").read_text(encoding="ascii")
    yield checks.user(os.geteuid())
    yield from checks.capabilities(Path("/proc/self/status").read_text(encoding="utf-8"))
    yield checks.kernel(release)
    yield checks.loop_devices()
    yield checks.sys_directory()
    for fs in FsType:
        yield checks.programs(fs)
        yield checks.kernel_filesystem(fs, known, Path("/lib/modules", release))
    yield checks.descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield checks.encryption(luks.lacks_encryption())
    yield checks.io_limits(LinuxIoLimits().lacks())
    yield checks.uevents()
    yield checks.kubelet(kubelet_dir, mountinfo.read())


def check_pools(
    pool: list[str] | None, config: Path | None, state_dir: Path | None
) -> Iterator[Finding]:
    """Yield the findings of each pool type about its configured pools.

    `pool`, `config`, `state_dir`: the command's options.
    """
    try:
        settings = load_settings(pool, config, state_dir)
        types = [find_pool_type(spec) for spec in settings.pools]
        records = node_state(settings.state_dir, settings.driver_name).pools
        for pool_type in dict.fromkeys(types):
            pools = [pool_type.read(spec) for spec in settings.pools if spec.type == pool_type.name]
            yield from pool_type.check(pools, settings.driver_name, records)
    except Invalid as error:
        yield problem("configuration", str(error), "see `cellar serve --help`")


def check_driver(endpoint: str) -> Finding:
    """Return the finding whether a driver answers on this socket, and is ready."""
    try:
        with Client(endpoint, timeout=5) as client:
            info = client.call(client.identity.GetPluginInfo, csi.GetPluginInfoRequest())
            ready = client.call(client.identity.Probe, csi.ProbeRequest()).ready.value
    except CallFailed as error:
        return problem("driver", error.text, f"start it: cellar serve --endpoint {endpoint}")
    text = f"{info.name} {info.vendor_version} answers at {endpoint}"
    if ready:
        return ok("driver", text)
    return warning("driver", f"{text} and is not ready", "see its log and `cellar pools`")
