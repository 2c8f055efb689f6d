"""How the log looks: a line for people, or JSON for programs; never the values of variables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

_TIME: Final = "{time:YYYY-MM-DDTHH:mm:ss.SSSZZ} {level: <7} {message}"
_SAID: Final = frozenset({"rpc", "code", "seconds"})  # stand in the guard's message already


def set_up(level: str, kind: str) -> None:
    """`kind`: text or json. Without `diagnose`: a traceback must not show a secret."""
    logger.remove()
    logger.add(
        sys.stderr,
        level=level.upper(),
        format="{message}" if kind == "json" else _line,
        serialize=kind == "json",
        colorize=False,
        backtrace=False,
        diagnose=False,
    )


def _line(record: Record) -> str:
    """The format of one record: its message, then the other facts as key=value."""
    facts = [key for key in record["extra"] if key not in _SAID]
    return _TIME + "".join(f" {key}={{extra[{key}]}}" for key in facts) + "\n{exception}"
