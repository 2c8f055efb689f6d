"""Watches for new disks, so that a pool whose disk is back is opened before the next call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress

from loguru import logger

from driver.core.errors import PoolUnavailable
from driver.core.ports.pool import Pool


class DiskEvents:
    """Opens the pools when a disk appears.

    The pools are opened in a thread of `executor`. Further events that arrive before that thread
    begins need no opening of their own.
    """

    def __init__(self, pools: Sequence[Pool], executor: Executor) -> None:
        self._pools = pools
        self._executor = executor
        self._scheduled = threading.Event()

    def watch(self) -> None:
        """Listen for udev events. If listening is not possible (a container without netlink), that
        is logged; pools are then opened when they are used.
        """
        try:
            from driver.linux.devices import udev  # noqa: PLC0415 - slow, and not needed to be ready

            udev.watch(self.on_event)
        except (ImportError, OSError) as error:
            logger.warning("events of disks cannot be received: {}", error)

    def on_event(self, action: str, name: str) -> None:
        """Open the pools after an event of a block device, because a pool may lie on that device.

        Loop devices, most of which are this driver's, are ignored. `action`, `name`: those of the
        udev event.
        """
        if action not in {"add", "change"} or name.startswith("loop") or self._scheduled.is_set():
            return
        self._scheduled.set()
        with suppress(RuntimeError):  # the driver is being stopped
            self._executor.submit(self._find_pools)

    def _find_pools(self) -> None:
        self._scheduled.clear()
        for pool in self._pools:
            with suppress(PoolUnavailable):
                pool.answers.begin(pool.backend.state)  # in the background
