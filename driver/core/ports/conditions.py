"""What is wrong with a driver itself, as the rules of its alerts name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Alarm(StrEnum):
    """How urgent a condition is: the label `severity` of the alert."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of an alert that is met now. `alert`: its rule's name; `text`: for people."""

    alert: str
    severity: Alarm
    text: str
    volume_id: str = ""


ReadConditions = Callable[[], Sequence[Condition]]


def no_conditions() -> Sequence[Condition]:
    """Return nothing."""
    return ()
