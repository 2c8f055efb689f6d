"""The lock that allows only one driver of a name on a node: flock(2) on a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.errors import Refused
from driver.linux import flocks

HANDOVER: Final = 25.0  # seconds; a driver leaves within 20 s of SIGTERM
_INTERVAL: Final = 0.2  # seconds between two attempts


def lock_node(folder: Path, driver_name: str, timeout: float = HANDOVER) -> int | None:
    """Lock `folder`, the driver's own folder in kubelet's directory, until this process ends.

    Waits at most `timeout` seconds for another process to release the lock, as when a node moves
    from one DaemonSet to another. Returns the descriptor with the lock; None: the lock is held by a
    process that was killed and has not ended yet. Raises: Refused: another driver holds it;
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if flocks.try_lock(fd):
        return fd
    logger.info("another driver named {} is on this node: waiting for its end", driver_name)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        time.sleep(_INTERVAL)
        if flocks.try_lock(fd):
            return fd
    is_dying = flocks.held_by_killed_processes(fd)
    os.close(fd)
    if is_dying:
        logger.warning("{} is locked by a driver that was killed, and does not end", folder)
        return None
    raise Refused(
        f"another driver named {driver_name} runs on this node: it has {folder} locked. Stop it, or"
        " give this one another --driver-name; in Kubernetes, two DaemonSets select this node, see"
        " nodeGroups in the chart's values"
    )
