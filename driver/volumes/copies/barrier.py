"""Steps of a group snapshot that all nodes which have its volumes take together."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias


class BarrierStep(IntEnum):
    """The steps at which the nodes wait for each other while they take a group snapshot together.
    The numbers are those in csi_proto/cellar.proto.
    """

    FROZEN = 1  # the sources are frozen
    TAKEN = 2  # every image has its bytes
    THAWED = 3  # the sources are thawed, and were frozen until now


# Called when a step is reached; returns when all other nodes have reached it too. Raises: Busy: a
# node failed, so undo everything.
Barrier: TypeAlias = Callable[[BarrierStep], None]


def no_barrier(_: BarrierStep) -> None:
    """Return at once, because no other node takes part in the group snapshot."""
