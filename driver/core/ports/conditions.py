"""Conditions of a driver itself that its alert rules report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Alarm(StrEnum):
    """The urgency of an alert, which is the value of its label `severity`."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Condition:
    """The fact that the alert rule `alert` applies now. `text`: describes the reason to people;
    `volume_id`: the volume that it concerns; "": none.
    """

    alert: str
    severity: Alarm
    text: str
    volume_id: str = ""


ReadConditions = Callable[[], Sequence[Condition]]


def no_conditions() -> Sequence[Condition]:
    """Return an empty sequence: no alert rule applies."""
    return ()
