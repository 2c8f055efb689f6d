"""Prints the demo: each CSI call with its request, its response, and the observations after it.

Fields are read from the messages themselves, so that exactly what was sent is printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value
from rich.console import Console
from rich.text import Text

from csi_proto import csi_pb2 as csi
from driver.cli.client import CallFailed
from driver.cli.output import human, short

LEFT_COLUMNS: Final = (
    34  # width of the left part of a line: a mark and a name; details stand right of it
)
OMITTED: Final = {"content_source", "accessible_topology"}  # the request just before has the same
FACT_COLUMNS: Final = 13  # width of the names in the title
_ID: Final = re.compile(r"\b[0-9a-f]{12}-[0-9a-f]{32}\b")


class Narrator:
    """Prints the texts, calls and observations of the demo. The path `work` is abbreviated to `…`
    wherever it occurs.

    `passed`: True until a check fails.
    """

    def __init__(self, console: Console, work: str) -> None:
        self._console = console
        self._work = work
        self._chapters = 0
        self.passed = True

    def title(self, text: str, facts: Iterable[tuple[str, str]]) -> None:
        """Print the title, and below it the facts as name and value."""
        self._console.print(Text(text, style="bold"))
        self._console.print()
        for name, value in facts:
            self._line(_styled(f"   {name}", "bold"), Text(value), FACT_COLUMNS)

    def note(self, text: str) -> None:
        """Print a warning."""
        self._console.print()
        self._line(_styled("   !", "bold yellow"), Text(text, style="yellow"), 5)

    def chapter(self, title: str, explanation: str) -> None:
        """Begin a chapter, with its number, title and explanation."""
        self._chapters += 1
        self._console.print()
        self._console.print(Text(f"{self._chapters:2} {title}", style="bold yellow"))
        self._line(Text(), Text(explanation, style="italic dim"), 3)

    def request(self, request: Message) -> None:
        """Print the name of a call and the fields that are set in its request."""
        rpc = request.DESCRIPTOR.name.removesuffix("Request")
        self._row("→", rpc, self._pairs(list_fields(request)), style="bold cyan")

    def answer(self, milliseconds: float, response: Message, *, whole_ids: bool = False) -> None:
        """Print a response and how many milliseconds the call took. `whole_ids`: do not shorten
        ids.
        """
        fields = list(list_fields(response)) or [("", "(empty response)")]
        self._timed("OK", milliseconds, self._pairs(fields, whole_ids=whole_ids), "green")

    def expected_error(self, milliseconds: float, error: CallFailed) -> None:
        """Print an error that the demo expects."""
        self._timed(error.code.name, milliseconds, self._text(error.text), "yellow")

    def unexpected_error(self, milliseconds: float, error: CallFailed) -> None:
        """Print an error that the demo does not expect."""
        self._timed(error.code.name, milliseconds, self._text(error.text), "bold red")

    def action(self, subject: str, detail: str) -> None:
        """Print an action of a pod, which is no CSI call. `subject`: who or what acts; `detail`:
        the action.
        """
        self._row("$", self._text(subject).plain, self._text(detail), style="bold magenta")

    def observation(self, subject: str, detail: str) -> None:
        """Print an observation of the machine. `subject`: what was observed; `detail`: its
        state.
        """
        self._row("·", self._text(subject).plain, self._text(detail, style="dim"), style="blue")

    def check(self, text: str, *, passed: bool) -> None:
        """Print whether a statement is true, and set `passed` to False if it is not."""
        self.passed &= passed
        mark, style = ("✔", "green") if passed else ("✘", "bold red")
        statement = self._text(text if passed else f"NOT TRUE: {text}").plain
        self._console.print(Text(f"   {mark} {statement}", style=style), soft_wrap=True)

    def failure(self, text: str, log: Iterable[str] = ()) -> None:
        """Print why the demo ends early, and the last lines of the driver's `log`."""
        self.passed = False
        self._console.print()
        self._console.print(self._text(text, style="bold red"), soft_wrap=True)
        for line in log:
            self._console.print(Text(f"   | {line}"), soft_wrap=True)

    def conclusion(self, text: str) -> None:
        """Print `text` as the last line of the demo."""
        self._console.print()
        self._console.print(Text(text, style="bold green" if self.passed else "bold red"))

    def _timed(self, status: str, milliseconds: float, text: Text, style: str) -> None:
        self._row("←", f"{status:<19}{milliseconds:6.1f} ms", text, style=style)

    def _row(self, mark: str, left: str, right: Text, *, style: str) -> None:
        self._line(_styled(f"   {mark} {left}", style), right, LEFT_COLUMNS)

    def _line(self, left: Text, right: Text, column: int) -> None:
        """Print `right`, folded, from `column` on; below `left` if that is too long."""
        if left.cell_len >= column:
            self._console.print(left, soft_wrap=True)
            left = Text()
        for line in right.wrap(self._console, max(20, self._console.width - column)):
            left.pad_right(column - left.cell_len)
            left.append_text(line).rstrip()
            self._console.print(left, soft_wrap=True)
            left = Text()

    def _pairs(self, pairs: Iterable[tuple[str, str]], *, whole_ids: bool = False) -> Text:
        line = Text()
        for name, value in pairs:
            line.append("  " if line.plain else "")
            line.append(f"{name}=" if name else "", style="dim")
            line.append_text(Text(value) if whole_ids else self._text(value))
        return line

    def _text(self, text: str, style: str = "") -> Text:
        text = _ID.sub(lambda match: short(match[0]), text.replace(self._work, "…"))
        return Text(text, style=style)


def _styled(text: str, style: str) -> Text:
    """Return a text with the style as a span: that of a whole Text would apply to appended text."""
    return Text().append(text, style=style)


def list_fields(message: Message) -> Iterator[tuple[str, str]]:
    """Return the name and value of each field that is set in the message or in a message within it,
    without secrets. Of the names of nested fields only the last component is used.

    The values of fields with the same name are joined to a list.
    """
    values_by_name: dict[str, list[str]] = {}
    for name, value in _leaves(message):
        values_by_name.setdefault(name, []).append(value)
    return ((name, _joined(values)) for name, values in values_by_name.items())


def _joined(values: list[str]) -> str:
    if len(values) > 1 and len(set(values)) == 1:
        return f"{values[0]} ({len(values)} times)"
    return ", ".join(values)


def _leaves(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[csi.csi_secret] or field.name in OMITTED:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            prefix = "" if field.name == "segments" else f"{field.name}."
            yield from ((f"{prefix}{key}", str(value[key])) for key in sorted(value))
            continue
        for item in value if field.is_repeated else [value]:
            yield from _leaf(field, item)


def _leaf(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Timestamp):
        yield field.name, value.ToDatetime().isoformat(timespec="milliseconds") + "Z"
    elif isinstance(value, csi.VolumeUsage):
        unit = csi.VolumeUsage.Unit.Name(value.unit).lower()
        say = human if value.unit == csi.VolumeUsage.BYTES else str
        yield unit, f"{say(value.used)} of {say(value.total)} used"
    elif isinstance(value, Int64Value | BoolValue):
        yield from _format_leaf(field.name, value.value)
    elif isinstance(value, Message):
        inside = list(_leaves(value))
        yield from inside or [(field.name, "{}")]
    elif field.enum_type:
        yield field.name, field.enum_type.values_by_number[value].name
    else:
        yield from _format_leaf(field.name, value)


def _format_leaf(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool):
        yield name, str(value).lower()
    elif isinstance(value, int) and name.endswith(("_bytes", "_capacity", "_size")):
        yield name, human(value)
    else:
        yield name, str(value)
