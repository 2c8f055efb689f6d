"""Steps that several machines take together, when a group of volumes is spread over them."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias


class BarrierStep(IntEnum):
    """The steps of a group snapshot on several nodes, with the numbers of the private proto."""

    FROZEN = 1  # the writers stand still
    TAKEN = 2  # every image has its bytes
    THAWED = 3  # the writers go on, and stood still until now


# Called when a step is reached; returns when all others have reached it too. Busy: take all back.
Barrier: TypeAlias = Callable[[BarrierStep], None]


def no_barrier(_step: BarrierStep) -> None:
    """No-op: no other node takes part."""
