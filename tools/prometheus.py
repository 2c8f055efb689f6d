"""Debian's package of Prometheus (19 MB), unpacked and not installed: promtool, and the server.

`python -m tools.prometheus` only brings it in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tools import e2e_parts
from tools.shell import CACHE, is_done, mark_done, run

VERSION: Final = "2.42.0+ds-5+deb12u1"  # of Debian 12; elsewhere what its apt has
ROOT: Final = CACHE / "prometheus"


def promtool() -> Path:
    """Return .cache/prometheus/usr/bin/promtool, fetched if it is not there."""
    stamp = CACHE / "prometheus.stamp"
    if not is_done(stamp, VERSION):
        ROOT.mkdir(parents=True, exist_ok=True)
        e2e_parts.download("prometheus", VERSION, ROOT)
        for package in ROOT.glob("prometheus_*.deb"):
            run(["dpkg-deb", "-x", str(package), str(ROOT)])
            package.unlink()
        mark_done(stamp, VERSION)
    return ROOT / "usr/bin/promtool"


def server() -> Path:
    """Return .cache/prometheus/usr/bin/prometheus, fetched if it is not there.

    The package is not installed because it would start a server on this machine.
    """
    return promtool().with_name("prometheus")


if __name__ == "__main__":
    server()
