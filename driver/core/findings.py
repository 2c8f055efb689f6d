"""The findings of `cellar doctor`: lines with a level, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The level of a finding: ok, warning or problem."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of `cellar doctor`: what it found out about `subject`. `cure`: what the reader
    can do; "" if nothing is wrong.
    """

    level: Level
    subject: str
    text: str
    cure: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return the finding that nothing is wrong with `subject`."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, cure: str) -> Finding:
    """Return a finding about something that restricts what the driver can do; `cure`: what to
    do.
    """
    return Finding(Level.WARNING, subject, text, cure)


def problem(subject: str, text: str, cure: str) -> Finding:
    """Return a finding about something that prevents the driver from working; `cure`: what to
    do.
    """
    return Finding(Level.PROBLEM, subject, text, cure)
