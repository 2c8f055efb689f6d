"""Hears disks appear, so that a pool that comes back is found before somebody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress

from loguru import logger

from driver.core.errors import PoolUnavailable
from driver.core.ports.pool import Pool


class Disks:
    """Look for the pools when a disk appears.

    This is done in `executor`, once for all events that arrive before it begins.
    """

    def __init__(self, pools: Sequence[Pool], executor: Executor) -> None:
        self._pools = pools
        self._executor = executor
        self._waiting = threading.Event()

    def watch(self) -> None:
        """Listen for udev events. Without netlink, as in some containers, log that instead.

        Pools are then found when they are used.
        """
        try:
            from driver.linux.devices import udev  # noqa: PLC0415 - slow, and not needed to be ready

            udev.watch(self.heard)
        except (ImportError, OSError) as error:
            logger.warning("disks that appear are not heard: {}", error)

    def heard(self, action: str, name: str) -> None:
        """Look for the pools after an event of a device that may carry one.

        Our own loop devices, which come and go all the time, carry none.
        """
        if action not in {"add", "change"} or name.startswith("loop") or self._waiting.is_set():
            return
        self._waiting.set()
        with suppress(RuntimeError):  # the driver is being stopped
            self._executor.submit(self._look)

    def _look(self) -> None:
        self._waiting.clear()
        for pool in self._pools:
            with suppress(PoolUnavailable):
                pool.answers.begin(pool.backend.state)  # nobody waits for it
