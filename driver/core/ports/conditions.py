"""Conditions of a driver itself that its alert rules report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Alarm(StrEnum):
    """The urgency of a condition: the label `severity` of its alert."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition for an alert that is true now. `alert`: the name of the alert rule; `text`: for
    people.
    """

    alert: str
    severity: Alarm
    text: str
    volume_id: str = ""


ReadConditions = Callable[[], Sequence[Condition]]


def no_conditions() -> Sequence[Condition]:
    """Return no conditions."""
    return ()
