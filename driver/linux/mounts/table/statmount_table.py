"""The table of mounts by statmount(2), where the cost of reading a mount does not depend on other
mounts.

Finding the mounts of a device needs the list of all ids, some 0.2 us for each mount. What a mount
shows never changes, so each is examined only once.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final

from driver.linux.mounts.table import mount_ids, statmount
from driver.linux.mounts.table.mount_entry import (
    Mount,
    device_number,
    may_be_node,
    node_number,
    number_by_node_name,
)

_RECENT: Final = 256  # mounts of a listing that are likely to come and go; looked up one by one
_GONE: Final = 256  # mounts that are not there any more and are remembered nevertheless
_GONE_OF_DEVICE: Final = 8  # the same, of one device: a loop device is mounted again and again
_NO_ID: Final = 1 << 64  # more than any id
_TRIES: Final = 10  # between the look at a place and the question what is there it may change


class StatmountTable:
    """Finds mounts by statmount(2) and listmount(2), fast also if there are thousands (implements
    MountTable).

    Facts about a mount id are cached, because an id is never reused: its filesystem, and the type
    and device number of its root inode, never change.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers: dict[int, int] = {}  # of each mount: dev_t of the device it shows, or 0
        self._nodes: dict[int, int] = {}  # the same, of those that show its node
        self._mounts_of: dict[int, set[int]] = {}  # the other way round, without 0
        self._examined = b""  # how a listing begins whose ids are all known
        self._forgets = 0  # how often ids were forgotten

    def topmost_at(self, target: Path) -> Mount | None:
        for _ in range(_TRIES):
            if (mount_id := mount_ids.topmost(target, unique=True)) is None:
                return None
            if mount := statmount.entry(mount_id):
                return mount
        raise OSError(errno.EAGAIN, "its mounts change all the time", os.fspath(target))

    def at(self, target: Path) -> tuple[Mount, ...]:
        layers = deque[Mount]()
        mount = self.topmost_at(target)
        while mount and (not layers or mount.target == layers[0].target):
            layers.appendleft(mount)
            mount = statmount.entry(mount.parent) if mount.parent != mount.id else None
        return tuple(layers)

    def find_by_descriptor(self, fd: int) -> Mount | None:
        return statmount.entry(mount_ids.descriptor_mount_id(fd, unique=True))

    def mounts(self) -> tuple[Mount, ...]:
        return _entries(statmount.ids(statmount.listing()))

    def device_mounts(self, number: int) -> tuple[Mount, ...]:
        return self._device_mounts(*self._examine(), number)

    def list_once(self) -> Callable[[int], tuple[Mount, ...]]:
        return partial(self._device_mounts, *self._examine())

    def node_mounts(self) -> tuple[tuple[int, Mount], ...]:
        unknown, present = self._examine()
        with self._lock:
            nodes = sorted(self._nodes)
        mounts = (*_entries(each for each in nodes if _is_in(each, present)), *unknown)
        return tuple((number, mount) for mount in mounts if (number := node_number(mount)))

    def node_numbers(self) -> frozenset[int]:
        unknown, present = self._examine()
        with self._lock:
            known = [number for each, number in self._nodes.items() if _is_in(each, present)]
        return frozenset(known) | frozenset(filter(None, map(node_number, unknown)))

    def _device_mounts(
        self, unknown: Sequence[Mount], present: Sequence[int], number: int
    ) -> tuple[Mount, ...]:
        """Return the mounts of the block device `number`, of those that `_examine` found."""
        with self._lock:
            known = sorted(self._mounts_of.get(number, ()))
            there = [each for each in known if _is_in(each, present)]
            if len(known) - len(there) > _GONE_OF_DEVICE:
                self._forget(set(known).difference(there))
        return _entries(there) + tuple(
            mount for mount in unknown if number in {node_number(mount), device_number(mount)}
        )

    def _examine(self) -> tuple[list[Mount], Sequence[int]]:
        """Find out the devices of new mounts, and forget mounts that do not exist any more.

        Returns the mounts that should have a device but could not be examined, perhaps because the
        device is gone, so that each call tries again; and the ids of all mounts, ascending.
        """
        listing = statmount.listing()
        present = statmount.ids(listing)
        with self._lock:
            known = len(self._examined) if listing.startswith(self._examined) else 0
            new = [each for each in statmount.ids(listing[known:]) if each not in self._numbers]
            if len(self._numbers) > len(present) + _GONE:
                self._forget(self._numbers.keys() - set(present))
            forgets = self._forgets
        unknown = self._examine_new(new)
        with self._lock:
            end = bisect_left(present, min((mount.id for mount in unknown), default=_NO_ID))
            end = max(0, min(end, len(present) - _RECENT))
            if forgets == self._forgets:  # else another thread, with an older listing, forgot some
                self._examined = listing[: end * present.itemsize]
        return unknown, present

    def _examine_new(self, new: list[int]) -> list[Mount]:
        """Find out the devices of some mounts; returns those that cannot be examined now."""
        unknown = list[Mount]()
        for mount in _entries(new):
            if (number := _shown_number(mount)) is None:
                unknown.append(mount)
                continue
            with self._lock:
                self._remember(mount, number)
        return unknown

    def _remember(self, mount: Mount, number: int) -> None:
        """Store the device number of a mount (dev_t; 0: none); called with the lock held."""
        self._numbers[mount.id] = number
        if number:
            self._mounts_of.setdefault(number, set()).add(mount.id)
            if may_be_node(mount):
                self._nodes[mount.id] = number

    def _forget(self, gone: Iterable[int]) -> None:
        """Forget mounts, so that all ids are examined again; called with the lock held."""
        self._forgets += 1
        self._examined = b""
        for mount_id in gone:
            number = self._numbers.pop(mount_id)
            self._nodes.pop(mount_id, None)
            if mounts := self._mounts_of.get(number):
                mounts.discard(mount_id)
                if not mounts:
                    del self._mounts_of[number]


def _is_in(mount_id: int, ids: Sequence[int]) -> bool:
    """Return whether ascending ids have this one."""
    index = bisect_left(ids, mount_id)
    return index < len(ids) and ids[index] == mount_id


def _entries(ids: Iterable[int]) -> tuple[Mount, ...]:
    """Return the mounts with these ids that are still there. Raises: OSError."""
    return tuple(filter(None, map(statmount.entry, ids)))


def _shown_number(mount: Mount) -> int | None:
    """Return the number (dev_t) of the mounted device; 0: none; None: not known now."""
    if may_be_node(mount):
        return number_by_node_name(mount) or _rdev(mount)
    if mount.fs_type == "btrfs":
        return device_number(mount) or None
    return device_number(mount)


def _rdev(mount: Mount) -> int | None:
    """Return the number (dev_t) of the block device node that is mounted; 0: it is something else.
    None: it cannot be examined, because another mount hides it.
    """
    try:
        fd = os.open(mount.target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if mount_ids.descriptor_mount_id(fd, unique=True) != mount.id:
            return None
        status = os.fstat(fd)
        return status.st_rdev if stat.S_ISBLK(status.st_mode) else 0
    finally:
        os.close(fd)
