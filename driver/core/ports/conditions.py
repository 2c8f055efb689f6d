"""Conditions of a driver itself that its alert rules report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Alarm(StrEnum):
    """How urgent a condition is: the value of the label `severity` of its alert."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Condition:
    """The fact that the condition of an alert rule is true now. `alert`: the name of the alert
    rule; `text`: describes it to people; `volume_id`: the volume that it concerns; "": none.
    """

    alert: str
    severity: Alarm
    text: str
    volume_id: str = ""


ReadConditions = Callable[[], Sequence[Condition]]


def no_conditions() -> Sequence[Condition]:
    """Return no conditions."""
    return ()
