"""The findings of `cellar doctor`: one line each, with a level and a cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `cellar doctor` about `subject`, with a `cure` unless all is well."""

    level: Level
    subject: str
    text: str
    cure: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, cure: str) -> Finding:
    """Return a finding that restricts what the driver can do."""
    return Finding(Level.WARNING, subject, text, cure)


def problem(subject: str, text: str, cure: str) -> Finding:
    """Return a finding that keeps the driver from working."""
    return Finding(Level.PROBLEM, subject, text, cure)
