"""A configured pool of logical volumes: opened when its group is found, and read from LVM's
reports.

When the pool is opened it is marked with its owner's tag and locked against other processes, and
what interrupted calls left behind is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress

from loguru import logger

from driver.backends.lvm import tags
from driver.backends.lvm.devices import Devices
from driver.backends.lvm.pool import identity
from driver.backends.lvm.pool.index import Entry, Index
from driver.backends.lvm.pool.pool_lock import PoolLock
from driver.backends.lvm.pool.recovery import recover, resume
from driver.backends.lvm.pool.unfinished import UnfinishedLvs
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
from driver.core.model import Image, Volume
from driver.linux.devices import lvm


class LvmPool:
    """Finds, locks and reads one configured pool of logical volumes, which may be unavailable.
    Calls that change the pool hold the lock of its volume group.

    `owner`: the name of the driver, with which the pool is marked. `init`: whether a volume group
    that has logical volumes and no mark may become a pool.
    """

    def __init__(self, provisioning: Provisioning, owner: str, *, init: bool) -> None:
        self.group = provisioning.group
        self.provisioning = provisioning
        self.devices = Devices(provisioning.group)
        self.unfinished = UnfinishedLvs(provisioning, self.devices)
        self.index = Index()
        self._owner = owner
        self._init = init
        self._lock = PoolLock(owner)
        self._protected: set[str] = set()  # names of LVs that a call works on

    def close(self) -> None:
        """Release the pool's lock, so that another process can take it."""
        self._lock.release()

    def refresh(self) -> lvm.VolumeGroup:
        """Read the pool's images from LVM's current report of the volume group, and return the
        report.

        A pool that was unavailable before is opened first.

        Raises: PoolUnavailable if the volume group or thin pool is missing, unusable, or belongs to
        another driver; Exhausted if this process lacks resources, such as file descriptors, to read
        the pool.
        """
        with self.group.lock:
            vg = self._available()
            if self.group.may_be_suspended:
                self.group.may_be_suspended = False
                resume(self.provisioning, vg, self._own_lvs(vg))
            self.index.read(vg, self.id_in(vg), self.provisioning.contains)
            return vg

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Read the pool's images again after the `with` block, which changes the volume group, so
        that other calls see the change.

        An error while they are read is ignored; the next call raises it.
        """
        try:
            yield
        finally:
            with suppress(CellarError):
                self.refresh()

    def id_in(self, vg: lvm.VolumeGroup) -> PoolId:
        """Return the pool's id, a hash of the UUIDs of volume group and thin pool in the report
        `vg`.
        """
        return identity.pool_id(self.provisioning, vg)

    def entry(self, image_id: ImageId) -> Entry:
        """Return an image together with its logical volume, according to LVM's current report.

        Raises: NotFound; Damaged if the logical volume was removed by somebody else, or the image's
        record cannot be read; PoolUnavailable.
        """
        self.refresh()
        if entry := self.index.entries.get(image_id):
            return entry
        self.index.refuse_damaged(image_id)
        if image_id in self.index.missing:
            raise Damaged(f"{image_id}: its logical volume was removed by somebody else")
        raise NotFound(f"no image {image_id} in pool {self.provisioning.location}")

    def healthy_entry(self, image_id: ImageId) -> Entry:
        """Return an image together with its logical volume, if LVM reports that as healthy.

        Raises: Damaged if LVM reports the logical volume as unhealthy, somebody else removed it, or
        the image's record cannot be read; NotFound; PoolUnavailable.
        """
        entry = self.entry(image_id)
        if entry.lv.health:
            raise Damaged(f"{entry.lv.name}: LVM reports it as {entry.lv.health}")
        return entry

    def protect(self, name: str) -> None:
        """Prevent that the logical volume `name`, which a running call is creating, is removed as
        a leftover of a failed call.
        """
        self._protected.add(name)

    def unprotect(self, name: str) -> None:
        """Allow again that the logical volume `name` is removed as a leftover of a failed call.
        No-op if that is allowed already.
        """
        self._protected.discard(name)

    def refuse_existing(self, vg: lvm.VolumeGroup, image: Image, name: str) -> None:
        """Raise Conflict if `image` exists as the logical volume `name`, or is being created.

        A logical volume that a failed attempt left unfinished is removed.
        """
        if image.id in self.index.missing or name in self._protected:
            raise Conflict(f"{image.id} exists already")
        if lv := vg.volumes.get(name):
            if tags.BUILDING not in lv.tags:
                raise Conflict(f"{image.id} exists already")
            self.unfinished.remove(name)

    def record(self, volume: Volume, *, without: AbstractSet[str] = frozenset()) -> None:
        """Replace the record of a volume, which consists of tags of its logical volume, and remove
        the tags `without`, in one LVM command.

        Raises: NotFound if the volume does not exist, or was deleted and created again; Damaged;
        PoolUnavailable; CommandError.
        """
        entry = self.entry(volume.id)
        if entry.image.incarnation != volume.incarnation:
            raise NotFound(f"volume {volume.id} was deleted and created again")
        old = tags.own_tags(entry.lv.tags)
        new = frozenset(tags.encode(volume, entry.reservation))
        if without or old != new:
            self.group.change_tags(entry.lv.name, (old - new) | without, new - old)

    def withdraw(self, name: str, node: str | None) -> None:
        """Remove the tags which record that the volume `name` is published to `node` (None: to any
        node).

        Used for a volume whose record cannot be read. Tags of a publication that cannot be
        parsed are removed too. Raises: PoolUnavailable, CommandError.
        """
        if lv := self.refresh().volumes.get(name):
            published, published_node = tags.published_to(lv.tags)
            if published and (published_node is None or node in {None, published_node}):
                self.group.change_tags(name, published, ())

    @contextmanager
    def freezing(self, volumes: Sequence[VolumeId]) -> Iterator[None]:
        """Tag volumes, for the duration of the `with` block, as possibly having frozen filesystems.

        Raises: CommandError.
        """
        lvs = [self.group.full_name(tags.lv_name(volume_id)) for volume_id in volumes]
        try:
            self.group.run("lvchange", "--addtag", tags.FREEZING, *lvs)
            yield
        finally:
            self.group.run("lvchange", "--deltag", tags.FREEZING, *lvs)

    def _available(self) -> lvm.VolumeGroup:
        """Return the report of the group with the adopted pool. Raises: as `refresh`."""
        try:
            vg = self.group.report()
            identity.refuse_trouble(self.provisioning, vg)
            return vg if self._lock.pool == self.id_in(vg) else self._adopt(vg)
        except PoolReadOnly:
            raise  # the pool is there, and stays locked
        except PoolUnavailable:
            self._lock.release()
            raise
        except OSError as error:
            raise errnos.machine_error(error) or error from error

    def _adopt(self, vg: lvm.VolumeGroup) -> lvm.VolumeGroup:
        """Open a pool that was found: lock and mark it, record its UUIDs, undo unfinished calls.
        Returns a new report.

        Raises: PoolUnavailable if another pool is recorded at this location, it belongs to another
        driver or process, or it has volumes and no mark (unless `init`).
        """
        provisioning, pool = self.provisioning, self.id_in(vg)
        identity.refuse_other(provisioning, vg)
        owned = self._lock.is_owned(provisioning.tags(vg), provisioning.location)
        if not owned and not self._init:
            self._refuse_volumes(vg)
        self._lock.take(pool, provisioning.location)
        if not owned:
            provisioning.add_tag(tags.owner_tag(self._owner))
        identity.record(self.group.known_groups, provisioning, vg)
        self.index = Index()
        lvs = self._own_lvs(vg)
        resume(provisioning, vg, lvs)
        provisioning.activate()
        for lv in lvs:
            if lv.name not in self._protected:
                recover(self.group, self.unfinished, lv)
        logger.info("pool {} found in {}", pool, provisioning.location)
        for fault in provisioning.faults(vg):
            logger.warning("{}", fault.text)
        return self.group.report()

    def _refuse_volumes(self, vg: lvm.VolumeGroup) -> None:
        """Raise PoolUnavailable if there are logical volumes where the pool would be."""
        if any(map(self.provisioning.contains, vg.volumes.values())):
            raise PoolUnavailable(
                f"{self.provisioning.location} has volumes and is not marked as a pool: if it is to"
                " become one, run `cellar pools init` or give the pool init=true"
            )

    def _own_lvs(self, vg: lvm.VolumeGroup) -> list[lvm.LogicalVolume]:
        """Return the logical volumes in the pool that have names of its images, half-made ones
        included.
        """
        prefix = f"{tags.PREFIX}{self.id_in(vg)}-"
        contains = self.provisioning.contains
        return [lv for lv in vg.volumes.values() if contains(lv) and lv.name.startswith(prefix)]
