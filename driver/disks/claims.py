"""Pools that take a blank disk by themselves, if the settings say so: `claimBlankDisks`.

A disk that matches the rule of such a pool, and is blank to its last byte, becomes the pool; by
the same code, and with the same checks, as by `cellar pools create`. Never in place of a disk
that is missing: not where a pool was ever found.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from loguru import logger

from driver.core.errors import CellarError, Invalid, Refused
from driver.core.model import MIB, Bytes
from driver.core.ports.node_events import NodeEvents
from driver.core.ports.records import Records
from driver.disks.creation import create
from driver.disks.examination import examine
from driver.disks.judgement import Consent
from driver.disks.plan import PoolPlan, check
from driver.disks.pool_kind import PoolKind
from driver.linux.disks import block_devices, find_filesystem, usage
from driver.linux.disks.block_device import BlockDevice
from driver.linux.disks.disk_rule import DiskRule
from driver.linux.disks.find_filesystem import DiskSource

RATE: Final = 200 * MIB  # bytes a second that are read of a disk, beside the volumes' own use
INTERVAL: Final = 15.0  # seconds between two looks at which disks there are
ROUNDS: Final = 20  # looks at which disks there are, of which one examines them anyhow
_BLOCKS: Final = Path("/sys/class/block")


@dataclass(frozen=True, slots=True)
class Claim:
    """A pool of loop files that takes a blank disk which `rule` selects, if it has none."""

    pool: str
    location: Path
    source: DiskSource
    rule: DiskRule


class DiskClaims:
    """Makes pools of blank disks, at the start and when disks appear, in a thread.

    `owner`: the driver's name. `known`: which pool was found at a location.
    """

    def __init__(
        self, claims: Sequence[Claim], owner: str, known: Records, events: NodeEvents
    ) -> None:
        self._claims = claims
        self._owner = owner
        self._known = known
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
        """Return how many disks became each pool since the start of this process."""
        return {pool: float(count) for pool, count in self._claimed.items()}

    def examine_disks(self) -> None:
        """Make a pool of a blank disk for each claim that has none. Never raises for a disk."""
        for claim in self._claims:
            try:
                if not self._has_disk(claim):
                    self._claim(claim)
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

    def _has_disk(self, claim: Claim) -> bool:
        """Return whether the pool has a disk, or had one, which may come back. Raises: OSError."""
        if find_filesystem.exists(claim.source):
            return True
        if self._known.get(os.fspath(claim.location)) is None:
            return False
        self._log_once(
            f"pool {claim.pool} was on a disk that is not there now: no blank disk is taken in its"
            " place; if that disk is gone for good, run `cellar pools create`"
        )
        return True

    def _claim(self, claim: Claim) -> None:
        """Make the pool of the first blank disk that matches. Raises: CellarError, OSError."""
        devices = block_devices.list_devices()
        now = usage.read_usage(devices)
        consent = Consent(named=claim.rule.names_a_disk)
        for device in filter(claim.rule.selects, devices):
            if (device.number, device.sequence) in self._refused:
                continue
            examination = examine(device, now, consent)
            if examination.refusal:
                self._log_once(
                    f"{device.path} matches pool {claim.pool} and is not used:"
                    f" {examination.refusal}"
                )
            elif self._create(claim, device):
                return

    def _create(self, claim: Claim, device: BlockDevice) -> bool:
        """Make the pool of a disk; return False if it is not blank after all.

        Raises: Failed, OSError.
        """
        plan = PoolPlan(
            name=claim.pool,
            kind=PoolKind.LOOPFILE,
            devices=(device,),
            location=os.fspath(claim.location),
            owner=self._owner,
            rate=RATE,
        )
        try:
            check(plan)
            logger.info("reading {} for pool {}, to see that it is blank", device.path, claim.pool)
            create(plan, self._on_progress)
        except (Invalid, Refused) as error:
            if not self._stopping.is_set():
                self._refused.add((device.number, device.sequence))
                self._log_once(f"pool {claim.pool} does not get {device.path}: {error}")
            return False
        self._claimed[claim.pool] += 1
        text = f"the blank disk {device.best_path} became pool {claim.pool}"
        logger.info(text)
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
