"""What the page of a driver tells a browser, through `kubectl cellar page`."""

from __future__ import annotations

import sys
from typing import Final

from tests.e2e.cluster import Cluster
from tests.e2e.release import SPACE

_PLUGIN: Final = (sys.executable, "-m", "driver.cli.kubectl.plugin", "--driver-namespace", SPACE)
# Runs the plugin, reads the stream until it has all lists and calls, and interrupts it.
_READ: Final = """\
import signal, subprocess, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True) as page:
    try:
        address = page.stdout.readline().split()[0]
        missing = {b'data: {"problem":"",', b"data: [{"}
        with opener.open(address + "events", timeout=60) as events:
            while missing:
                line = events.readline()
                sys.stdout.write(line.decode())
                missing -= {start for start in missing if line.startswith(start)}
    finally:
        page.send_signal(signal.SIGINT)
        status = page.wait(30)
sys.exit(status)
"""


def events(cluster: Cluster, *options: str) -> str:
    """The stream of events, with all lists and the last calls. `options`: of the plugin. CommandError."""
    words = [*_PLUGIN, *options, "page", "--listen", "127.0.0.1:9580"]
    return cluster.run(sys.executable, "-c", _READ, *words)
