"""Named steps at which a test can kill this process, to show that it recovers.

`CELLAR_FAILPOINT=create.renamed` ends the process by SIGKILL at that step; `create.renamed:3` when
it is reached for the third time. Without the variable a step costs one comparison. A test checks
that each member of FailPoint is used in the source code.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from itertools import count
from typing import Final


class FailPoint(StrEnum):
    """A step after which a test can make the driver kill itself. Each is named after the operation
    and the step.
    """

    # backends
    CREATE_BUILDING = "create.building"
    CREATE_ALLOCATED = "create.allocated"
    CREATE_PREPARED = "create.prepared"
    CREATE_SYNCED = "create.synced"
    CREATE_RECORDED = "create.recorded"
    CREATE_RENAMED = "create.renamed"
    CREATE_DONE = "create.done"
    RECORD_RENAMED = "record.renamed"
    RESIZE_ALLOCATED = "resize.allocated"
    RESIZE_RECORDED = "resize.recorded"
    RESIZE_DEVICE = "resize.device"
    DELETE_RENAMED = "delete.renamed"
    DELETE_SYNCED = "delete.synced"
    DELETE_UNLINKED = "delete.unlinked"
    ATTACH_BOUND = "attach.bound"
    ATTACH_CONFIGURED = "attach.configured"
    DETACH_CLEARED = "detach.cleared"
    SHARED_AHEAD = "share.ahead"
    QUIESCE_MARKED = "hold.marked"
    QUIESCE_FROZEN = "hold.frozen"
    QUIESCE_THAWED = "hold.thawed"
    # volumes
    STAGE_ATTACHED = "stage.attached"
    STAGE_CHECKED = "stage.checked"
    STAGE_RECORDED = "stage.recorded"
    STAGE_MOUNTED = "stage.mounted"
    STAGE_GROWN = "stage.grown"
    STAGE_LIMITED = "stage.limited"
    PUBLISH_RECORDED = "publish.recorded"
    PUBLISH_BOUND = "publish.bound"
    UNPUBLISH_UNMOUNTED = "unpublish.unmounted"
    UNSTAGE_UNMOUNTED = "unstage.unmounted"
    DETACH_UNLIMITED = "detach.unlimited"
    UNSTAGE_DETACHED = "unstage.detached"
    SNAPSHOT_TAKEN = "snapshot.taken"
    EXPAND_GROWN = "expand.grown"
    MODIFY_RECORDED = "modify.recorded"
    MODIFY_ENFORCED = "modify.enforced"
    INLINE_RECORDED = "inline.recorded"
    # encrypted volumes
    REPLACE_BUILDING = "refill.building"
    REPLACE_SYNCED = "refill.synced"
    REPLACE_SWAPPED = "refill.swapped"
    REPLACE_RECORDED = "refill.recorded"
    STAGE_ENCRYPTED = "stage.sealed"
    STAGE_NEW_UUID = "stage.renewed"
    UNSTAGE_CLOSED = "unstage.closed"
    DELETE_ERASED = "delete.erased"
    # volume groups
    RESIZE_FREED = "resize.freed"
    COPY_SNAPSHOT_TAKEN = "still.taken"
    DISK_RECORDED = "disk.recorded"
    DISK_WRITTEN = "disk.written"


# Only encrypted volumes pass these, on a kernel that can encrypt.
ENCRYPTED: Final = (
    FailPoint.REPLACE_BUILDING,
    FailPoint.REPLACE_SYNCED,
    FailPoint.REPLACE_SWAPPED,
    FailPoint.REPLACE_RECORDED,
    FailPoint.STAGE_ENCRYPTED,
    FailPoint.STAGE_NEW_UUID,
    FailPoint.UNSTAGE_CLOSED,
    FailPoint.DELETE_ERASED,
)
LVM: Final = (
    FailPoint.RESIZE_FREED,
    FailPoint.COPY_SNAPSHOT_TAKEN,
    FailPoint.DISK_RECORDED,
    FailPoint.DISK_WRITTEN,
)  # only volume groups pass these
POINTS: Final = tuple(point for point in FailPoint if point not in {*ENCRYPTED, *LVM})

_armed, _, _nth = os.environ.get("CELLAR_FAILPOINT", "").partition(":")
_reached = count(1)


def reach(point: FailPoint) -> None:
    """End the process by SIGKILL if CELLAR_FAILPOINT names this point; else a no-op."""
    if point == _armed and next(_reached) == int(_nth or "1"):
        os.kill(os.getpid(), signal.SIGKILL)
