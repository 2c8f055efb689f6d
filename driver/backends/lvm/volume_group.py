"""A volume group as this process uses it: its disks, LVM's last report about it, and a lock for
both.

A report is current until the metadata headers on the disks change. Only disks that `lvm_disks`
permits are read.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from loguru import logger

from driver.backends.lvm.pool.known_groups import KnownGroups
from driver.core import errnos
from driver.core.errors import CellarError, Invalid, PoolReadOnly, PoolUnavailable, StillRunning
from driver.core.ports.records import Records
from driver.linux import command
from driver.linux.devices import block, lvm, lvm_disks, lvm_label


class Group:
    """Reads and changes one volume group of LVM, which all pools in it share. The group is
    identified by its UUID, because names are not unique.
    """

    def __init__(self, name: str, pins: KnownGroups) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.may_be_suspended = False  # by a command that was killed
        self.devices: tuple[str, ...] = ()  # as configured
        self.uuid = ""  # as configured
        self._claimable: tuple[str, ...] = ()  # paths of disks that it may get by a rule
        self.known_groups = pins
        self._disks: tuple[Path, ...] = ()
        self._identity: tuple[str, ...] = ()
        self._uuid = ""
        self._stamp = b""
        self._cached_report: lvm.VolumeGroup | None = None

    def configure(
        self, devices: tuple[str, ...], uuid: str, claimable: tuple[str, ...] = ()
    ) -> None:
        """Set the options `devices=` and `uuid=` from the configuration of one pool in the volume
        group.

        `claimable`: paths of disks that the pool may take by itself; LVM may use them in addition
        to `devices`.

        Raises: Invalid if another pool in the volume group has other `devices` or another `uuid`.
        """
        for option, configured, new in (
            ("devices", self.devices, devices),
            ("uuid", self.uuid, uuid),
        ):
            if configured and new and configured != new:
                raise Invalid(f"the pools of volume group {self.name} differ in `{option}=`")
        self.devices, self.uuid = self.devices or devices, self.uuid or uuid
        self._claimable += claimable

    def is_unknown(self) -> bool:
        """Return whether no disk has a volume group of this name, and none was ever recorded or
        configured.

        Raises: CommandError.
        """
        with self.lock:
            known = self.uuid or self.known_groups.group_uuid(self.name)
            return not known and not self._labelled(self._survey())

    def report(self) -> lvm.VolumeGroup:
        """Return LVM's current report about the volume group; runs LVM only if the headers on the
        disks have changed.

        Raises: PoolUnavailable if the volume group is missing, exported or incomplete, or its UUID
        is not the recorded one.
        """
        with self.lock:
            stamp = self._read_stamp()
            if self._cached_report is None or stamp is None or stamp != self._stamp:
                self._cached_report = None
                self._cached_report, self._stamp = self._ask(stamp)
            if self._cached_report.trouble:
                raise PoolUnavailable(self._cached_report.trouble)
            return self._cached_report

    def run(self, verb: str, *words: str) -> None:
        """Run one LVM command that changes the volume group, with the volume group's lock held.
        `verb`: the command, such as "lvcreate"; `words`: its arguments.

        Raises: PoolReadOnly if it failed because the volume group is read-only; CommandError,
        CommandTimeout, StillRunning; PoolUnavailable.
        """
        with self.lock:
            try:
                lvm.change(self._disks, verb, *words)
            except (command.CommandTimeout, StillRunning):
                self.may_be_suspended = True
                raise
            except command.CommandError:
                refuse_read_only(self.report())
                raise

    def change_tags(self, lv: str, old: Collection[str], new: Collection[str]) -> None:
        """Remove the tags `old` from the logical volume `lv` and add `new`, in one command.

        Raises: PoolReadOnly if the volume group is read-only; CommandError, CommandTimeout,
        StillRunning; PoolUnavailable.
        """
        words = [word for tag in sorted(old) for word in ("--deltag", tag)]
        words += [word for tag in sorted(new) for word in ("--addtag", tag)]
        self.run("lvchange", *words, self.full_name(lv))

    def physical_extents(self) -> Mapping[str, tuple[str, ...]]:
        """Return, by the name of each logical volume of the volume group, its physical extents,
        such as "/dev/sda:0-31". The hidden ones of which mirrored volumes consist are included.
        """
        with self.lock:
            return lvm.physical_extents(self._disks, self.name)

    def full_name(self, volume: str) -> str:
        """Return the name of a logical volume as LVM's commands take it, GROUP/VOLUME."""
        return f"{self.name}/{volume}"

    def _read_stamp(self) -> bytes | None:
        """Return the headers on the disks; None: a disk is missing, or they are not known yet."""
        if not self._disks:
            return None
        try:
            return lvm_label.read_headers(self._disks)
        except OSError as error:
            if error.errno in errnos.EXHAUSTED:
                raise  # this process lacks the resources
            return None

    def _ask(self, stamp: bytes | None) -> tuple[lvm.VolumeGroup, bytes]:
        """Return a new report, and the headers from before it, so that a later change is seen.

        `stamp`: the headers now, or None. Raises: PoolUnavailable.
        """
        if stamp is not None and self._identity == lvm_disks.disk_identities(self._disks) != ():
            try:
                report, stamp = self._read_report(stamp)
            except CellarError:
                logger.debug("{} is not on the disks where it was", self.name)
            else:
                if not report.trouble:
                    return report, stamp
                logger.debug("{} is not only on the disks where it was", self.name)
        self._disks, self._uuid = self._find()
        self._identity = lvm_disks.disk_identities(self._disks)
        stamp = self._read_stamp()
        try:
            return self._read_report(stamp or b"")
        except command.CommandError as error:
            self._disks = ()
            raise PoolUnavailable(f"volume group {self.name} cannot be read: {error}") from error

    def _read_report(self, stamp: bytes) -> tuple[lvm.VolumeGroup, bytes]:
        vg = lvm.report(self._disks, self.name)
        if vg.uuid != self._uuid:
            raise PoolUnavailable(f"volume group {self.name} was replaced by another one")
        return vg, stamp

    def _find(self) -> tuple[tuple[Path, ...], str]:
        """Return the group's disks and its UUID; of two groups with this name those of the
        recorded one.

        Raises: PoolUnavailable if there is none, only another than the recorded one, or several
        and none is recorded.
        """
        survey = self._survey()
        named = self._labelled(survey)
        uuids = {disk.group_uuid for disk in named}
        known = self.uuid or self.known_groups.group_uuid(self.name)
        if not uuids:
            raise PoolUnavailable(self._missing_text(survey.refusals()))
        if known and known not in uuids:
            raise PoolUnavailable(self._other_group_text(known, uuids))
        if not known and len(uuids) > 1:
            raise PoolUnavailable(
                f"there are {len(uuids)} volume groups {self.name}: rename all but one, or say"
                " which by `uuid=`"
            )
        uuid = known or uuids.pop()
        return tuple(disk.path for disk in named if disk.group_uuid == uuid), uuid

    def _survey(self) -> lvm_disks.Disks:
        """Return which devices count: of `devices=`, of the rule, and that were taken by it."""
        taken = self.known_groups.devices(self.name)
        return lvm_disks.Disks(self.devices, (*self._claimable, *taken))

    def _labelled(self, survey: lvm_disks.Disks) -> list[lvm.Disk]:
        """Return the disks of all groups with this name. Raises: CommandError."""
        candidates = survey.find_labelled_disks()
        disks = lvm.disks(candidates) if candidates else ()
        return [disk for disk in disks if disk.group == self.name]

    def _missing_text(self, refused: str) -> str:
        scope = "on the disks of `devices=`" if self.devices else "on the disks of this machine"
        return (
            f"there is no volume group {self.name} {scope}: are they there? see `vgs -o+vg_uuid`;"
            " loop devices and disks over a network count only if `devices=` has their paths"
        ) + (f"; {refused}" if refused else "")

    def _other_group_text(self, known: str, uuids: Collection[str]) -> str:
        text = f"the volume group {self.name} that is there has the UUID {', '.join(uuids)}"
        if self.uuid:
            return f"{text}, not {known} as `uuid=` has it"
        return (
            f"{text}; the one that was this pool has {known}: are its disks there? If the other"
            " one is to take its place, give the pool its `uuid=`, or run `cellar pools init` and"
            " start the driver again"
        )


def refuse_read_only(vg: lvm.VolumeGroup) -> None:
    """Raise PoolReadOnly if the volume group's metadata say that it is read-only, or one of its
    disks is read-only.
    """
    if vg.read_only:
        raise PoolReadOnly(f"volume group {vg.name} is read-only by its metadata: see `vgs`")
    if disks := [str(disk) for disk in vg.disks if block.is_read_only(disk)]:
        raise PoolReadOnly(
            f"volume group {vg.name} is read-only: so is {', '.join(disks)}; if there was an error"
            " see the kernel's log, else run `blockdev --setrw`"
        )


class Groups:
    """The volume groups of all pools of this process. `records`: which UUIDs of volume groups were
    recorded on this node.
    """

    def __init__(self, records: Records) -> None:
        self._groups: dict[str, Group] = {}
        self._known_groups = KnownGroups(records)

    def get(self, name: str) -> Group:
        """Return the volume group with this name: always the same object for the same name."""
        return self._groups.setdefault(name, Group(name, self._known_groups))
