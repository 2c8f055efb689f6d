"""A volume group as this process sees it: its disks, its last report, and one lock around both.

A report is believed as long as the headers on the disks are what they were before it was asked.
Only disks that `lvmdisks` lets through are ever looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from loguru import logger

from driver.backends.lvm.known_groups import Pins
from driver.core import errnos
from driver.core.errors import CellarError, Invalid, PoolReadOnly, PoolUnavailable, StillRunning
from driver.core.ports.records import Records
from driver.linux import command
from driver.linux.devices import block, lvm, lvm_disks, lvm_label


class Group:
    """A volume group, shared by the pools in it. It is known by its UUID: any group can have its
    name.
    """

    def __init__(self, name: str, pins: Pins) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.doubted = False  # a command was killed, and may have left something suspended
        self.devices: tuple[str, ...] = ()  # as an administrator named them
        self.uuid = ""  # the same
        self.pins = pins
        self._disks: tuple[Path, ...] = ()
        self._identity: tuple[str, ...] = ()
        self._uuid = ""
        self._stamp = b""
        self._report: lvm.VolumeGroup | None = None

    def configure(self, devices: tuple[str, ...], uuid: str) -> None:
        """Set the `devices=` and `uuid=` that one of its pools has in the configuration.

        Raises: Invalid if another pool of the group has others.
        """
        for what, mine, new in (("devices", self.devices, devices), ("uuid", self.uuid, uuid)):
            if mine and new and mine != new:
                raise Invalid(f"the pools of volume group {self.name} differ in `{what}=`")
        self.devices, self.uuid = self.devices or devices, self.uuid or uuid

    def look(self) -> lvm.VolumeGroup:
        """Return the current report; LVM is asked only if the headers on the disks have changed.

        Raises: PoolUnavailable if the group is missing, exported, incomplete, or not the known
        one.
        """
        with self.lock:
            stamp = self._stamp_now()
            if self._report is None or stamp is None or stamp != self._stamp:
                self._report = None
                self._report, self._stamp = self._ask(stamp)
            if self._report.trouble:
                raise PoolUnavailable(self._report.trouble)
            return self._report

    def change(self, verb: str, *words: str) -> None:
        """Run one command of LVM that changes the group, under its lock.

        Raises: PoolReadOnly if it failed because the group is read-only; CommandError,
        CommandTimeout, StillRunning; PoolUnavailable.
        """
        with self.lock:
            try:
                lvm.change(self._disks, verb, *words)
            except (command.CommandTimeout, StillRunning):
                self.doubted = True
                raise
            except command.CommandError:
                refuse_read_only(self.look())
                raise

    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Return the parts of all its volumes; see `lvm.parts`."""
        with self.lock:
            return lvm.parts(self._disks, self.name)

    def of(self, volume: str) -> str:
        """Return the name of one of its volumes in LVM's commands, GROUP/VOLUME."""
        return f"{self.name}/{volume}"

    def _stamp_now(self) -> bytes | None:
        """Return a fingerprint of the headers on the disks; None: not all are there, or known."""
        if not self._disks:
            return None
        try:
            return lvm_label.stamp(self._disks)
        except OSError as error:
            if error.errno in errnos.EXHAUSTED:
                raise  # of this process, not of a disk
            return None

    def _ask(self, stamp: bytes | None) -> tuple[lvm.VolumeGroup, bytes]:
        """Return a new report, and the stamp from before it.

        So a change in between is seen the next time.
        """
        if stamp is not None and self._identity == lvm_disks.identify(self._disks) != ():
            try:
                return self._reported(stamp)
            except CellarError:
                logger.debug("{} is not on the disks where it was", self.name)
        self._disks, self._uuid = self._find()
        self._identity = lvm_disks.identify(self._disks)
        stamp = self._stamp_now()
        try:
            return self._reported(stamp or b"")
        except command.CommandError as error:
            self._disks = ()
            raise PoolUnavailable(f"volume group {self.name} cannot be read: {error}") from error

    def _reported(self, stamp: bytes) -> tuple[lvm.VolumeGroup, bytes]:
        found = lvm.report(self._disks, self.name)
        if found.uuid != self._uuid:
            raise PoolUnavailable(f"volume group {self.name} became another one meanwhile")
        return found, stamp

    def _find(self) -> tuple[tuple[Path, ...], str]:
        """Return the group's disks and its UUID; of two groups with this name those of the known
        one.

        Raises: PoolUnavailable if there is none, only another than the known one, or several
        and none is known.
        """
        survey = lvm_disks.Disks(self.devices)
        candidates = survey.labelled()
        disks = lvm.disks(candidates) if candidates else ()
        named = [disk for disk in disks if disk.group == self.name]
        uuids = {disk.group_uuid for disk in named}
        known = self.uuid or self.pins.group_of(self.name)
        if not uuids:
            raise PoolUnavailable(self._missing(survey.refused()))
        if known and known not in uuids:
            raise PoolUnavailable(self._another(known, uuids))
        if not known and len(uuids) > 1:
            raise PoolUnavailable(
                f"there are {len(uuids)} volume groups {self.name}: rename all but one, or say"
                " which by `uuid=`"
            )
        uuid = known or uuids.pop()
        return tuple(disk.path for disk in named if disk.group_uuid == uuid), uuid

    def _missing(self, refused: str) -> str:
        where = "on the disks of `devices=`" if self.devices else "on the disks of this machine"
        return (
            f"there is no volume group {self.name} {where}: are they there? see `vgs -o+vg_uuid`;"
            " loop devices and disks over a network count only if `devices=` has their paths"
        ) + (f"; {refused}" if refused else "")

    def _another(self, known: str, uuids: Collection[str]) -> str:
        found = f"the volume group {self.name} that is there has the UUID {', '.join(uuids)}"
        if self.uuid:
            return f"{found}, not {known} as `uuid=` has it"
        return (
            f"{found}; the one that was this pool has {known}: are its disks there? If the other"
            " one is to take its place, give the pool its `uuid=`, or run `cellar pools init` and"
            " start the driver again"
        )


def refuse_read_only(vg: lvm.VolumeGroup) -> None:
    """Raise PoolReadOnly if the group is read-only by its metadata, or one of its disks is."""
    if vg.read_only:
        raise PoolReadOnly(f"volume group {vg.name} is read-only by its metadata: see `vgs`")
    if disks := [str(disk) for disk in vg.disks if block.is_read_only(disk)]:
        raise PoolReadOnly(
            f"volume group {vg.name} is read-only: so is {', '.join(disks)}; if there was an error"
            " see the kernel's log, else run `blockdev --setrw`"
        )


class Groups:
    """One `Group` for each name. `records`: what this node knows of its pools."""

    def __init__(self, records: Records) -> None:
        self._groups: dict[str, Group] = {}
        self._pins = Pins(records)

    def named(self, name: str) -> Group:
        """Return the group of that name, always the same object."""
        return self._groups.setdefault(name, Group(name, self._pins))
