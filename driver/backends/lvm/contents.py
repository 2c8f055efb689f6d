"""Writes the contents of a new logical volume so that after a crash it is either complete or
absent.

A new logical volume has a tag that marks it as being built. One `lvchange` replaces the tag by the
image's record, and from then on the image exists. Contents that are written later (of an encrypted
volume) have another tag while they are written; a volume that still has it after a crash is zeroed.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from driver.backends.lvm import checks, no_space, tags
from driver.backends.lvm.pool.pool import LvmPool
from driver.core.errors import Refused
from driver.core.failpoints import FailPoint, reach
from driver.core.model import Bytes, Image, Prepare, Volume
from driver.linux.devices import block, lvm


def create(pool: LvmPool, image: Image, prepare: Prepare) -> bool:
    """Create the logical volume of `image` durably; after an error nothing of it is left. `prepare`
    is called with the path of its device, to write the first contents.

    Returns True if the logical volume reads as zeros, because it has no source and `prepare` wrote
    nothing.

    Raises: Conflict if the image exists; NoSpace; Invalid; NotFound or Damaged: its source does not
    exist or cannot be read; PoolUnavailable; CommandError; what `prepare` raises.
    """
    checks.refuse_allocation(pool.provisioning, image.allocation)
    name = tags.lv_name(image.id)
    with ExitStack() as undo:
        with pool.group.lock:
            vg = pool.refresh()
            checks.refuse_size(pool.provisioning, vg, image.size)
            checks.refuse_block_size(vg, image)
            pool.refuse_existing(vg, image, name)
            source = _source(pool, image)
            pool.protect(name)
            undo.callback(pool.unprotect, name)
            with no_space.as_no_space(pool, image.size):
                reservation = pool.provisioning.create_lv(vg, name, image, source)
            undo.callback(pool.unfinished.remove, name)
        reach(FailPoint.CREATE_BUILDING)
        is_blank = _write(pool, name, image, source, prepare)
        reach(FailPoint.CREATE_SYNCED)
        with pool.group.lock:
            _finish(pool, name, image, reservation)  # from here on the image exists
            undo.pop_all()
            pool.unprotect(name)
    reach(FailPoint.CREATE_RENAMED)
    return is_blank


def fill(pool: LvmPool, volume: Volume, prepare: Prepare) -> Volume:
    """Have `prepare` write the first contents of a volume that was never formatted to the path of
    its device. Returns the volume, which is now recorded as formatted.

    No pod sees the contents before the volume is recorded as formatted; after an error they are
    zeroed.

    Raises: Refused if the volume was formatted, is in use, or was deleted and created again;
    NotFound, Damaged; NoSpace; PoolUnavailable; CommandError; what `prepare` raises.
    """
    name = tags.lv_name(volume.id)
    with ExitStack() as undo:
        with pool.group.lock:
            recorded = _unformatted(pool, volume)
            pool.protect(name)
            undo.callback(pool.unprotect, name)
            pool.unfinished.mark_filling(pool.entry(volume.id).lv)
            undo.callback(pool.unfinished.zero, name)
        pool.devices.activate(name)
        reach(FailPoint.REPLACE_BUILDING)
        node = pool.devices.lv_node(name)
        with no_space.as_no_space(pool):
            prepare(node)
            block.flush(node)
        reach(FailPoint.REPLACE_SYNCED)
        with pool.group.lock:
            formatted = replace(recorded, formatted=True)
            pool.record(formatted, without={tags.FILLING})  # never formatted again from here on
            undo.pop_all()
            pool.unprotect(name)
    reach(FailPoint.REPLACE_RECORDED)
    return formatted


def _write(
    pool: LvmPool, name: str, image: Image, source: lvm.LogicalVolume | None, prepare: Prepare
) -> bool:
    """Zero a new logical volume and have `prepare` write to it; durable on return.

    Returns whether it reads as zeros. Raises: NoSpace, OSError, what `prepare` raises.
    """
    with no_space.as_no_space(pool):
        pool.provisioning.zero_new_space(name, image, shared=source is not None)
        reach(FailPoint.CREATE_ALLOCATED)
        node = pool.devices.lv_node(name)
        before = block.writes(node)
        prepare(node)
        reach(FailPoint.CREATE_PREPARED)
        block.flush(node)
    return source is None and block.writes(node) == before


def _finish(pool: LvmPool, name: str, image: Image, reservation: Bytes) -> None:
    """Replace the tag of a logical volume that is being built by its record."""
    pool.group.change_tags(name, {tags.BUILDING}, tags.encode(image, reservation))
    pool.provisioning.forget_reservation(name)


def _source(pool: LvmPool, image: Image) -> lvm.LogicalVolume | None:
    """Return the logical volume to share bytes with, or None: the image starts with zeros, and
    `prepare` copies if need be.

    Raises: NotFound or Damaged if the source is in this pool and cannot be used.
    """
    if image.source is None or image.source.pool != image.id.pool:
        return None
    entry = pool.healthy_entry(image.source)
    return entry.lv if pool.provisioning.shares else None


def _unformatted(pool: LvmPool, volume: Volume) -> Volume:
    """Return the volume as recorded, if it was never formatted and is unused. Raises: as `fill`."""
    recorded = pool.healthy_entry(volume.id).volume
    if recorded.formatted:
        raise Refused(f"volume {recorded.id} was formatted before; nothing was changed")
    if recorded.incarnation != volume.incarnation:
        raise Refused(f"volume {recorded.id} was deleted and created again; nothing was changed")
    if pool.devices.is_read(recorded.id) or pool.devices.find(recorded.id):
        raise Refused(f"volume {recorded.id} is in use; nothing was changed")
    return recorded
