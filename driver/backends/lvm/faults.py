"""Finds the faults of a pool of logical volumes and of its images."""

from __future__ import annotations

from collections.abc import Iterator

from driver.backends.lvm import tags
from driver.backends.lvm.pool.index import Entry
from driver.backends.lvm.pool.pool import LvmPool
from driver.backends.lvm.volume_group import refuse_read_only
from driver.core.errors import PoolUnavailable
from driver.core.faults import Fault, FaultKind, Severity, unavailability_fault
from driver.core.ids import ImageId
from driver.linux.devices import lvm


def faults(pool: LvmPool, image_id: ImageId | None) -> Iterator[Fault]:
    """Yield the faults of the image `image_id`; None: of the pool itself.

    Never raises PoolUnavailable: an unavailable pool is a fault.
    """
    try:
        vg = pool.refresh()
        if image_id is None:
            yield from pool.provisioning.faults(vg)
            for image in pool.index.damaged.values():
                yield Fault(FaultKind.RECORD_DAMAGED, image.why)
        else:
            yield from _image_faults(pool, vg, image_id)
        refuse_read_only(vg)
    except PoolUnavailable as error:
        yield unavailability_fault(error)


def _image_faults(pool: LvmPool, vg: lvm.VolumeGroup, image_id: ImageId) -> Iterator[Fault]:
    index = pool.index
    if damaged := index.damaged.get(tags.lv_name(image_id)):
        yield Fault(FaultKind.RECORD_DAMAGED, damaged.why, Severity.DATA_LOSS)
    elif image_id in index.missing:
        text = f"{image_id}: its logical volume was removed by somebody else"
        yield Fault(FaultKind.BACKING_VOLUME_GONE, text, Severity.DATA_LOSS)
    elif entry := index.entries.get(image_id):
        yield from _lv_faults(entry)
        yield from pool.provisioning.volume_faults(vg)


def _lv_faults(entry: Entry) -> Iterator[Fault]:
    if entry.lv.health:
        text = f"{entry.lv.name}: LVM reports it as {entry.lv.health}"
        yield Fault(FaultKind.VOLUME_UNHEALTHY, text)
