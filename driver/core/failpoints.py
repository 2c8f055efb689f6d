"""Named instants at which a test may kill this process, to prove that it comes back right.

`CELLAR_FAILPOINT=create.renamed` ends the process by SIGKILL when that point is reached;
`create.renamed:3` at the third time. Without the variable a point costs one comparison. All points
stand in `POINTS`: a test compares the list with the sources, so that none is forgotten.
"""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Final

POINTS: Final = (
    # backends.loopfile
    "create.building",
    "create.allocated",
    "create.prepared",
    "create.synced",
    "create.recorded",
    "create.renamed",
    "create.done",
    "record.renamed",
    "resize.allocated",
    "resize.recorded",
    "resize.device",
    "delete.renamed",
    "delete.synced",
    "delete.unlinked",
    "attach.bound",
    "attach.configured",
    "detach.cleared",
    "hold.marked",
    "hold.frozen",
    "hold.thawed",
    # volumes
    "stage.attached",
    "stage.checked",
    "stage.recorded",
    "stage.mounted",
    "stage.grown",
    "publish.recorded",
    "publish.bound",
    "unpublish.unmounted",
    "unstage.unmounted",
    "unstage.detached",
    "snapshot.taken",
    "expand.grown",
    "inline.recorded",
)

# Only encrypted volumes pass these, on a kernel that can encrypt.
ENCRYPTED: Final = (
    # backends.loopfile
    "refill.building",
    "refill.synced",
    "refill.swapped",
    "refill.recorded",
    # volumes
    "stage.sealed",
    "stage.renewed",
    "unstage.closed",
    "delete.erased",
)

# Of volume groups alone.
LVM: Final = ("resize.freed", "still.taken")

_wanted, _, _nth = os.environ.get("CELLAR_FAILPOINT", "").partition(":")
_seen = count(1)


def reach(point: str) -> None:
    """End the process by SIGKILL if CELLAR_FAILPOINT names this point; else a no-op."""
    if point == _wanted and next(_seen) == int(_nth or "1"):
        os.kill(os.getpid(), signal.SIGKILL)
