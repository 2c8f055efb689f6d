"""Pools that take blank disks by themselves, where the settings say so: `claimBlankDisks`.

A disk that matches the rule of such a pool, and is blank to its last byte, becomes the pool or a
part of it; by the same code, and with the same checks, as by `cellar pools create`. Never in place
of a disk that is missing: not where a pool was ever found.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final, Protocol

from loguru import logger

from driver.core.errors import CellarError, Invalid, Refused
from driver.core.model import MIB, Bytes
from driver.core.ports.node_events import NodeEvents
from driver.disks.creation import OnProgress
from driver.disks.examination import examine
from driver.disks.judgement import Consent
from driver.linux.disks import block_devices, usage
from driver.linux.disks.block_device import BlockDevice
from driver.linux.disks.disk_rule import DiskRule

RATE: Final = 200 * MIB  # bytes a second that are read of a disk, beside the volumes' own use
INTERVAL: Final = 15.0  # seconds between two listings of the disks
ROUNDS: Final = 20  # listings, of which one examines the disks even if they are the same
_BLOCKS: Final = Path("/sys/class/block")


class Claim(Protocol):
    """A pool that takes blank disks which `rule` selects."""

    @property
    def pool(self) -> str:
        """The pool's name."""

    @property
    def rule(self) -> DiskRule:
        """Which disks the pool may take."""

    def wants_disk(self) -> bool:
        """Return whether the pool takes a disk now. Raises: CellarError: why not; OSError."""

    def owns(self, device: BlockDevice) -> bool:
        """Return whether the disk is the pool's already."""

    def take(self, device: BlockDevice, rate: Bytes, on_progress: OnProgress) -> str:
        """Make the disk the pool, or a part of it; return what it became.

        `rate`: bytes that are read of it in a second, at most. Raises: Invalid, Refused: it is too
        small, or not blank; CellarError, OSError.
        """


class DiskClaims:
    """Makes pools of blank disks, at the start and when disks appear, in a thread."""

    def __init__(self, claims: Sequence[Claim], events: NodeEvents) -> None:
        self._claims = claims
        self._events = events
        self._stopping = threading.Event()
        self._texts: set[str] = set()  # logged before
        self._refused: set[tuple[int, str]] = set()  # that were read and found not blank
        self._claimed = dict.fromkeys((claim.pool for claim in claims), 0)

    def start(self) -> None:
        """Begin to look for disks, if any pool takes them."""
        if self._claims:
            threading.Thread(target=self._run, name="disk-claims", daemon=True).start()

    def stop(self) -> None:
        """Stop, also in the middle of reading a disk."""
        self._stopping.set()

    def claimed(self) -> dict[str, float]:
        """Return how many disks each pool has taken since the start of this process."""
        return {pool: float(count) for pool, count in self._claimed.items()}

    def examine_disks(self) -> None:
        """Let each pool take the blank disks that it wants. Never raises for a disk."""
        for claim in self._claims:
            try:
                if claim.wants_disk():
                    self._look_for(claim)
            except (CellarError, OSError) as error:
                self._log_once(f"pool {claim.pool} gets no disk: {error}")

    def _run(self) -> None:
        """Look when the disks have changed, and every ROUNDS times, until `stop`.

        A disk may have been in use for a moment, or was wiped by hand, which changes nothing
        that can be seen without reading it.
        """
        before: frozenset[tuple[str, int]] = frozenset()
        for number in count():
            now = _disks()
            if now != before or number % ROUNDS == 0:
                self.examine_disks()
            before = now
            if self._stopping.wait(INTERVAL):
                return

    def _look_for(self, claim: Claim) -> None:
        """Let the pool take blank disks that match. Raises: CellarError, OSError."""
        devices = block_devices.list_devices()
        now = usage.read_usage(devices)
        for device in filter(claim.rule.selects, devices):
            if (device.number, device.sequence) in self._refused or claim.owns(device):
                continue
            examination = examine(device, now, Consent(named=claim.rule.names(device)))
            if examination.refusal:
                self._log_once(
                    f"{device.path} matches pool {claim.pool} and is not used:"
                    f" {examination.refusal}"
                )
            elif self._take(claim, device) and not claim.wants_disk():
                return

    def _take(self, claim: Claim, device: BlockDevice) -> bool:
        """Give the pool a disk; return False if it is not blank after all.

        Raises: CellarError, OSError.
        """
        logger.info("reading {} for pool {}, to see that it is blank", device.path, claim.pool)
        try:
            became = claim.take(device, RATE, self._on_progress)
        except (Invalid, Refused) as error:
            if not self._stopping.is_set():
                self._refused.add((device.number, device.sequence))
                self._log_once(f"pool {claim.pool} does not get {device.path}: {error}")
            return False
        self._claimed[claim.pool] += 1
        text = f"the blank disk {device.best_path} {became}"
        logger.info("{}", text)
        self._events.record("BlankDiskClaimed", text)
        return True

    def _on_progress(self, _device: BlockDevice, _done: Bytes) -> None:
        """Stop the reading when the driver ends. Raises: Refused."""
        if self._stopping.is_set():
            raise Refused("the driver ends")

    def _log_once(self, text: str) -> None:
        if text not in self._texts:
            self._texts.add(text)
            logger.warning("{}", text)


def _disks() -> frozenset[tuple[str, int]]:
    """Return what changes when a disk appears: the names, with the inodes of their directories."""
    entries = []
    for name in os.listdir(_BLOCKS):
        try:
            entries.append((name, os.stat(_BLOCKS / name).st_ino))
        except FileNotFoundError:
            continue
    return frozenset(entries)
