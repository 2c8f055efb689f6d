"""Pools that add blank disks by themselves, if the setting `claimBlankDisks` allows it.

A disk that matches the pool's rule and reads as zeros to its last byte becomes the pool or a part
of it, by the same code and with the same checks as for `cellar pools create`. It never replaces a
missing disk: not if a pool was ever found at the location.
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
    """A pool that takes blank disks selected by a rule: finds out whether it needs a disk, and
    gives it one.
    """

    @property
    def pool(self) -> str:
        """Return the name of the pool."""

    @property
    def rule(self) -> DiskRule:
        """Return the rule that selects the disks which the pool may take."""

    def wants_disk(self) -> bool:
        """Return whether the pool takes a disk now. Raises: CellarError: it cannot take one, for
        the reason in the text; OSError.
        """

    def owns(self, device: BlockDevice) -> bool:
        """Return whether the disk belongs to the pool already."""

    def take(self, device: BlockDevice, rate: Bytes, on_progress: OnProgress) -> str:
        """Make the blank disk the pool, or a part of it, and return a text, for people, about the
        result.

        `rate`: how many bytes of the disk are read per second at most. Raises: Invalid, Refused:
        the disk is too small, or not blank; CellarError, OSError.
        """


class DiskClaims:
    """Gives blank disks to the pools that take them. A thread does that when the driver starts and
    whenever a disk appears.
    """

    def __init__(self, claims: Sequence[Claim], events: NodeEvents) -> None:
        self._claims = claims
        self._events = events
        self._stopping = threading.Event()
        self._texts: set[str] = set()  # logged before
        self._refused: set[tuple[int, str]] = set()  # that were read and found not blank
        self._claimed = dict.fromkeys((claim.pool for claim in claims), 0)

    def start(self) -> None:
        """Start the thread that searches for disks, if any pool takes them."""
        if self._claims:
            threading.Thread(target=self._run, name="disk-claims", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread that searches for disks, even while it reads a disk."""
        self._stopping.set()

    def claimed(self) -> dict[str, float]:
        """Return how many disks each pool has taken since this process started."""
        return {pool: float(count) for pool, count in self._claimed.items()}

    def examine_disks(self) -> None:
        """Give each pool the blank disks that it takes. Errors are logged, not raised."""
        for claim in self._claims:
            try:
                if claim.wants_disk():
                    self._offer_disks(claim)
            except (CellarError, OSError) as error:
                self._log_once(f"pool {claim.pool} gets no disk: {error}")

    def _run(self) -> None:
        """Examine the disks when they have changed, and at every ROUNDS-th listing, until `stop`.

        A disk may have been in use at the last listing, or was wiped since, which is visible only
        by reading it.
        """
        before: frozenset[tuple[str, int]] = frozenset()
        for number in count():
            now = _disks()
            if now != before or number % ROUNDS == 0:
                self.examine_disks()
            before = now
            if self._stopping.wait(INTERVAL):
                return

    def _offer_disks(self, claim: Claim) -> None:
        """Give the pool the blank disks that match its rule. Raises: CellarError, OSError."""
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
