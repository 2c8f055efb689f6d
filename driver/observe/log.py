"""The format of the log: lines of text for people, or of JSON for programs.

A line of JSON is one flat object: `ts` (UTC), `level`, `msg`, then the facts: `rpc`, `code`,
`duration` in seconds, `volume`, `snapshot` and so on, and `exception` if there is a traceback. The
values of variables are never logged. Texts from requests, and names of pods' processes and files,
are escaped so that they cannot start a new line or control a terminal.
"""

from __future__ import annotations

import json
import traceback
from datetime import UTC
from typing import TYPE_CHECKING, Final

from loguru import logger

from driver.observe.log_output import open_output

if TYPE_CHECKING:
    from loguru import Record

_TIME: Final = "{time:YYYY-MM-DDTHH:mm:ss.SSSZZ} {level: <7}"
_IN_MESSAGE: Final = frozenset({"rpc", "code", "seconds"})  # of the interceptor
_JSON_NAMES: Final = {"seconds": "duration"}
_LINE: Final = "line"


def set_up(level: str, kind: str) -> None:
    """Log messages of `level` and above to stderr, in the format `kind`: "text" or "json".

    loguru's `diagnose` is off, because a traceback must not contain a secret.
    """
    logger.remove()
    logger.add(
        open_output(),
        level=level.upper(),
        format=_json if kind == "json" else _line,
        colorize=False,
        backtrace=False,
        diagnose=False,
    )


def _line(record: Record) -> str:
    """Return the format of one record: its message, then the other facts as key=value."""
    facts = (item for item in record["extra"].items() if item[0] not in _IN_MESSAGE)
    text = record["message"] + "".join(f" {key}={value}" for key, value in facts)
    record["extra"][_LINE] = text if text.isprintable() else "".join(map(_escaped, text))
    return f"{_TIME} {{extra[{_LINE}]}}\n{{exception}}"


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _json(record: Record) -> str:
    """Return the format of one record as JSON.

    The object is passed in `extra`: loguru would interpret its braces.
    """
    record["extra"][_LINE] = json.dumps(_flat(record), default=str)
    return f"{{extra[{_LINE}]}}\n"


def _flat(record: Record) -> dict[str, object]:
    at = record["time"].astimezone(UTC).isoformat(timespec="milliseconds")
    flat: dict[str, object] = {
        "ts": at.replace("+00:00", "Z"),
        "level": record["level"].name.lower(),
        "msg": record["message"],
    }
    facts = {
        _JSON_NAMES.get(key, key.removesuffix("_id")): value
        for key, value in record["extra"].items()
    }
    flat = {**facts, **flat} if facts.keys() & flat.keys() else {**flat, **facts}
    if error := record["exception"]:
        lines = traceback.format_exception(error.type, error.value, error.traceback)
        flat["exception"] = "".join(lines)
    return flat
