"""A pool in a volume group: found by its tags, proved to be ours alone, swept when it is found."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

from loguru import logger

from driver.backends.lvm import hold
from driver.backends.lvm import tags as lvmtags
from driver.backends.lvm.devices import Devices
from driver.backends.lvm.index import Entry, Index
from driver.backends.lvm.known_groups import Pins
from driver.backends.lvm.pool_lock import PoolLock
from driver.backends.lvm.provisioning.provisioning import Provisioning
from driver.core import errnos
from driver.core.errors import (
    CellarError,
    Conflict,
    Damaged,
    NotFound,
    PoolReadOnly,
    PoolUnavailable,
)
from driver.core.ids import ImageId, PoolId, VolumeId
from driver.core.model import Image
from driver.linux.devices import dm, lvm
from driver.linux.formats import filesystem, luks
from driver.linux.mounts import freeze


class LvmPool:
    """A configured pool, whether or not it is available. Its lock is the volume group's."""

    def __init__(self, kind: Provisioning, owner: str, *, init: bool) -> None:
        self.group = kind.group
        self.kind = kind
        self.devices = Devices(kind.group)
        self.index = Index()
        self._owner = owner
        self._init = init
        self._ownership = PoolLock(owner)
        self._busy: set[str] = set()  # logical volumes that a call is at work on: not to be swept

    def close(self) -> None:
        """Release the pool's lock, so that another process can take it."""
        self._ownership.drop()

    def look(self) -> lvm.VolumeGroup:
        """Return the current report of the group, and see to it that the index is of that report.

        A pool that appeared is adopted first: marked, locked, resumed and swept.

        Raises: PoolUnavailable if the group or the pool in it is missing, in trouble, or not
        ours; Exhausted if that cannot be told now.
        """
        with self.group.lock:
            try:
                vg = self.group.look()
                self._refuse_trouble(vg)
                if self._ownership.pool != self.id_in(vg):
                    vg = self._adopt(vg)
            except PoolReadOnly:
                raise  # it is there
            except PoolUnavailable:
                self._ownership.drop()
                raise
            except OSError as error:
                raise errnos.machine_error(error) or error from error
            if self.group.doubted:
                self.group.doubted = False
                self._resume(vg, self._ours(vg))
            self.index.read(vg, self.id_in(vg), self.kind.holds)
            return vg

    def id_in(self, vg: lvm.VolumeGroup) -> PoolId:
        """Return the id that the pool has in this group, a hash of LVM's UUIDs."""
        return _id(self.kind, vg)

    def entry(self, image_id: ImageId) -> Entry:
        """Return what the index has of an image.

        Raises: NotFound; Damaged if somebody removed its volume, or its record cannot be
        trusted; PoolUnavailable.
        """
        self.look()
        if entry := self.index.entries.get(image_id):
            return entry
        self.index.refuse_damaged(image_id)
        if image_id in self.index.vanished:
            raise Damaged(f"{image_id}: its logical volume is gone")
        raise NotFound(f"no image {image_id} in pool {self.kind.where}")

    def whole(self, image_id: ImageId) -> Entry:
        """Return what `entry` does. Raises: Damaged also if LVM reports the volume as unhealthy."""
        entry = self.entry(image_id)
        if entry.volume.health:
            raise Damaged(f"{entry.volume.name}: LVM says {entry.volume.health}")
        return entry

    def begin(self, name: str) -> None:
        """Keep a sweep from removing the logical volume `name`, which a call works on."""
        self._busy.add(name)

    def done(self, name: str) -> None:
        """End what `begin` began."""
        self._busy.discard(name)

    def refuse_taken(self, vg: lvm.VolumeGroup, image: Image, name: str) -> None:
        """Raise Conflict if `image` exists, as the volume `name`, or is being made.

        What an earlier attempt left and could not remove is removed now.
        """
        if image.id in self.index.vanished or name in self._busy:
            raise Conflict(f"{image.id} exists already")
        if one := vg.volumes.get(name):
            if lvmtags.BUILDING not in one.tags:
                raise Conflict(f"{image.id} exists already")
            self.abandon(name)

    def retag(self, name: str, old: Collection[str], new: Collection[str]) -> None:
        """Remove the tags `old` from the volume `name` and add `new`, in one command.

        Raises: CommandError.
        """
        words = [word for tag in sorted(old) for word in ("--deltag", tag)]
        words += [word for tag in sorted(new) for word in ("--addtag", tag)]
        self.group.change("lvchange", *words, self.group.of(name))

    def withdraw(self, name: str, node: str | None) -> None:
        """Remove the tags that say that the volume `name` is published to `node` (None: to any).

        For a volume whose record cannot be trusted. Tags that cannot be read are removed too.
        """
        if one := self.look().volumes.get(name):
            tags, known = lvmtags.published_to(one.tags)
            if tags and (known is None or node in {None, known}):
                self.retag(name, tags, ())

    def mark_freezing(self, volumes: Sequence[VolumeId], freezing: bool) -> None:
        """Add (or remove) the tag that says that the filesystems of the volumes may be left
        frozen.
        """
        names = [self.group.of(lvmtags.name_of(one)) for one in volumes]
        how = "--addtag" if freezing else "--deltag"
        self.group.change("lvchange", how, lvmtags.FREEZING, *names)

    def abandon(self, name: str) -> None:
        """Remove a volume that is tagged as being built, and so was seen by nobody. No-op if it is
        not.

        A command may have failed after it did its work, so the group is looked at anew. What
        cannot be removed is logged, and stays for the next sweep.
        """
        self.kind.forget(name)
        try:
            if not self._has_tag(name, lvmtags.BUILDING):
                return
            self._let_go(name)
            self.group.change("lvremove", self.group.of(name))
        except (CellarError, OSError) as error:
            logger.error("{} stays, it cannot be removed: {}", name, error)

    def fill(self, one: lvm.LogicalVolume) -> None:
        """Tag a volume whose first contents are about to be written; clear those of an earlier
        attempt.
        """
        if lvmtags.FILLING in one.tags:
            self.empty(one.name)
        self.retag(one.name, (), {lvmtags.FILLING})

    def empty(self, name: str) -> None:
        """Zero a volume whose first contents were not finished, and remove its tag.

        No-op if it does not have the tag.
        """
        if not self._has_tag(name, lvmtags.FILLING):
            return
        self._let_go(name)
        self.devices.activate(name)
        self.kind.clear(name)
        self.retag(name, {lvmtags.FILLING}, ())

    def _has_tag(self, name: str, tag: str) -> bool:
        one = self.group.look().volumes.get(name)
        return one is not None and tag in one.tags

    def _let_go(self, name: str) -> None:
        """Close and unmount what a preparation that was killed left open on the volume."""
        luks.abandon(self.devices.below(name))
        filesystem.abandon(self.devices.below(name))

    def _refuse_trouble(self, vg: lvm.VolumeGroup) -> None:
        if trouble := self.kind.trouble(vg):
            raise PoolUnavailable(trouble)

    def _adopt(self, vg: lvm.VolumeGroup) -> lvm.VolumeGroup:
        """Take over a pool that appeared: pin and mark it, lock it, resume, activate and sweep its
        volumes.

        Return a new report. Raises: PoolUnavailable if it is another pool, belongs to another
        driver or process, or has volumes and no mark (unless `init`).
        """
        pool = self.id_in(vg)
        refuse_another(self.kind, vg)
        if not self._ownership.check(self.kind.tags(vg), self.kind.where):
            if not self._init and any(map(self.kind.holds, vg.volumes.values())):
                raise PoolUnavailable(
                    f"{self.kind.where} has volumes and is not marked as a pool: if it is to"
                    " become one, run `cellar pools init` or give the pool init=true"
                )
            self._ownership.take(pool, self.kind.where)
            self.kind.mark(lvmtags.owner(self._owner))
        self._ownership.take(pool, self.kind.where)
        pin(self.group.pins, self.kind, vg)
        self.index = Index()
        ours = self._ours(vg)
        self._resume(vg, ours)
        self.kind.wake()
        for one in ours:
            self._sweep(one)
        logger.info("pool {} found in {}", pool, self.kind.where)
        for fault in self.kind.faults(vg):
            logger.warning("{}", fault.text)
        return self.group.look()

    def _ours(self, vg: lvm.VolumeGroup) -> list[lvm.LogicalVolume]:
        """Return the logical volumes in the pool that have names of its images, half-made ones
        included.
        """
        prefix = f"{lvmtags.PREFIX}{self.id_in(vg)}-"
        every = vg.volumes.values()
        return [one for one in every if self.kind.holds(one) and one.name.startswith(prefix)]

    def _resume(self, vg: lvm.VolumeGroup, ours: Iterable[lvm.LogicalVolume]) -> None:
        """Resume devices that a killed command or process left suspended: their writers hang.

        Logical volumes are resumed by LVM itself, under its lock: another command may be at
        work.
        """
        names = {one.name for one in ours}
        suspended = dm.suspended()
        for one in vg.volumes.values():
            known = dm.uuid_of(vg.uuid, one.uuid)
            below = any(found.uuid.startswith(known) for found in suspended)
            if below and (one.name in names or self.group.of(one.name) == self.kind.where):
                self.group.change("lvchange", "--refresh", self.group.of(one.name))
                logger.warning("resumed {}, left suspended by a command that was killed", one.name)
        for found in suspended:
            if found.uuid.startswith(dm.LAYER) and found.name in names:
                dm.resume(found.name)
                logger.warning("resumed {}, left suspended", found.name)

    def _sweep(self, one: lvm.LogicalVolume) -> None:
        """Undo what a call that did not end left on a volume."""
        if one.name in self._busy:
            return
        if lvmtags.BUILDING in one.tags:
            self.abandon(one.name)
            logger.info("swept {}, left by a call that did not end", one.name)
        if lvmtags.FREEZING in one.tags:
            self._thaw(one)
        if lvmtags.FILLING in one.tags:
            try:
                self.empty(one.name)
            except (CellarError, OSError) as error:
                logger.error("{} cannot be emptied: {}", one.name, error)

    def _thaw(self, one: lvm.LogicalVolume) -> None:
        """Thaw the filesystem of a volume that is tagged as frozen, and remove the tag."""
        found = dm.find(one.name)
        if found and (place := hold.shown_at(found.number)):
            logger.warning("thawing {}, left frozen by a snapshot that did not end", place)
            freeze.thaw(place)
        self.retag(one.name, {lvmtags.FREEZING}, ())


def refuse_another(kind: Provisioning, vg: lvm.VolumeGroup) -> None:
    """Raise PoolUnavailable if the thin pool or group is not the one recorded for its name.

    Not if an administrator gave the UUID of this group, and another was recorded.
    """
    pins = kind.group.pins
    if kind.group.uuid and pins.group_of(kind.where) != vg.uuid:
        return  # an administrator said that it is this group now
    if pins.is_another(kind.where, vg.uuid, kind.uuid(vg)):
        raise PoolUnavailable(
            f"{kind.where} is another one than the one that was this pool: if it is to take its"
            " place, run `cellar pools init` and start the driver again"
        )


def pin(pins: Pins, kind: Provisioning, vg: lvm.VolumeGroup) -> None:
    """Record the UUIDs of this group and thin pool, so that no other with their names is taken for
    them.
    """
    pins.write(kind.group.name, vg.uuid, "")
    pins.write(kind.where, vg.uuid, kind.uuid(vg))


def initialise(kind: Provisioning, owner: str, pins: Pins) -> PoolId:
    """Mark the pool and record its UUIDs, whatever was recorded before; see `backend.initialise`.

    Raises: Conflict, PoolUnavailable.
    """
    vg = kind.group.look()
    if trouble := kind.trouble(vg):
        raise PoolUnavailable(trouble)
    if not PoolLock(owner).check(kind.tags(vg), kind.where):
        kind.mark(lvmtags.owner(owner))
    elif not pins.is_another(kind.where, vg.uuid, kind.uuid(vg)):
        raise Conflict(f"{kind.where} is a pool already")
    pin(pins, kind, vg)
    return _id(kind, vg)


def _id(kind: Provisioning, vg: lvm.VolumeGroup) -> PoolId:
    return hashlib.sha256(kind.identity(vg).encode()).hexdigest()[:12]
