"""`cellar calls`: prints the calls that a running driver has answered, and follows new ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from csi_proto import inspect_pb2
from driver.cli.connection import Endpoint, Format, connected
from driver.cli.output import Column, Output, Row, console, print_rows, printable

Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Then print each call as it ends, until Ctrl-C.")
]
Past = Annotated[int, typer.Option("--past", min=0, help="The number of past calls to print.")]
All = Annotated[
    bool, typer.Option("--all", help="Also lists, and what an idle cluster repeats, as Probe.")
]
Failed = Annotated[bool, typer.Option("--failed", help="Only calls that failed.")]
Text = Annotated[
    str,
    typer.Option(
        "--about", metavar="TEXT", help="Only calls with this text in their request or answer."
    ),
]

_IDS: Final = ("volume_id", "snapshot_id", "group_snapshot_id", "source_volume_id", "name")
_NESTED: Final = ("volume", "snapshot", "group_snapshot")


def command(  # noqa: PLR0913 - one for each option
    *,
    endpoint: Endpoint = "",
    output: Format = Output.TABLE,
    follow: Follow = False,
    past: Past = 20,
    polled: All = False,
    failed: Failed = False,
    text: Text = "",
) -> None:
    """Print the last calls that a running driver answered, without secrets.

    `-o wide` prints each with its request and its answer, `-o json` and `-o yaml` all that is
    known. With --follow, JSON has one call in each line.
    """
    request = inspect_pb2.FollowCallsRequest(past=past, past_only=not follow, polled=polled)
    with connected(endpoint) as client:
        rows = map(call_row, client.calls(request))
        chosen = (row for row in rows if _is_chosen(row, failed=failed, text=text))
        if follow or output is Output.WIDE:
            _print_each(output, chosen)
        else:
            print_rows(output, CALLS, chosen, name="rpc")
    if follow:
        console(stderr=True).print("the driver stopped")


def call_row(call: inspect_pb2.Call) -> Row:
    """Return a call as a row. The keys are those of `-o json`."""
    request, response = _parsed(call.request), _parsed(call.response)
    return {
        "number": call.number,
        "ended": datetime.fromtimestamp(call.ended, UTC).isoformat(timespec="milliseconds"),
        "rpc": call.rpc,
        "code": call.code,
        "error": call.error,
        "seconds": round(call.seconds, 6),
        "about": _subject(request) or _subject(response),
        "request": request,
        "response": response,
    }


def _parsed(text: str) -> Row | None:
    """Return a message; None: the driver did not store it."""
    message: Row | None = json.loads(text) if text else None
    return message


def _subject(message: Row | None) -> str:
    """Return the id or name that a message is about, "" if it has none."""
    if not message:
        return ""
    for key in _IDS:
        if message.get(key):
            return str(message[key])
    return next((_subject(message[key]) for key in _NESTED if key in message), "")


def _is_chosen(row: Row, *, failed: bool, text: str) -> bool:
    if failed and row["code"] == "OK":
        return False
    return not text or text in json.dumps(
        [row["about"], row["request"], row["response"], row["error"]], ensure_ascii=False
    )


def _print_each(output: Output, rows: Iterator[Row]) -> None:
    """Print each call as it comes: in the columns of a table, with its messages if `wide`."""
    stream = sys.stdout
    for row in rows:
        match output:
            case Output.JSON:
                text = json.dumps(row, ensure_ascii=False)
            case Output.NAME:
                text = row["rpc"]
            case Output.YAML:
                import yaml  # noqa: PLC0415 - for this format only

                text = yaml.safe_dump([row], sort_keys=False, allow_unicode=True).rstrip("\n")
            case _:
                text = "\n".join(map(printable, _lines(row, wide=output is Output.WIDE)))
        stream.write(f"{text}\n")
        stream.flush()


def format_call(row: Row) -> str:
    """Return one line of text about a call: end time, duration, name, code, and object."""
    took = f"{_duration(row):>9}"
    code = f"{row['code']:<19}"
    return f"{row['ended'][11:23]}  {took}  {row['rpc']:<26}  {code}  {row['about'] or '-'}"


def _lines(row: Row, *, wide: bool) -> Iterator[str]:
    yield format_call(row)
    if row["error"]:
        yield f"    error    {row['error']}"
    if wide:
        for key in ("request", "response"):
            yield f"    {key:<8} {_message(row[key])}"


def _message(message: Row | None) -> str:
    return "(not kept)" if message is None else json.dumps(message, ensure_ascii=False)


def _duration(row: Row) -> str:
    milliseconds = 1000 * row["seconds"]
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


CALLS: Final = (
    Column("ended", lambda row: row["ended"][11:23]),
    Column("took", _duration, number=True),
    Column("call", lambda row: row["rpc"]),
    Column("code", lambda row: row["code"], alarm=lambda row: row["code"] != "OK"),
    Column("about", lambda row: row["about"] or "-"),
    Column("error", lambda row: row["error"] or "-"),
)
