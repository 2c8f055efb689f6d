"""`cellar describe`: prints all that a running driver knows of one volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer
from google.protobuf import json_format

from csi_proto import inspect_pb2
from driver.cli.client import Client
from driver.cli.connection import Endpoint, Format, connected, fail
from driver.cli.lists.references import FULL_ID, find_volume
from driver.cli.lists.rows import timestamp, volume_rows
from driver.cli.live.calls import call_row, format_call
from driver.cli.output import Output, Row, console, human, print_rows, printable

Reference = Annotated[
    str,
    typer.Argument(
        metavar="VOLUME",
        help="An id or its beginning, the name of a PersistentVolume, or NAMESPACE/CLAIM.",
    ),
]

_CALLS: Final = 200  # that a driver keeps
_SHOWN_CALLS: Final = 10
_IN_TABLE: Final = frozenset({"id", "name", "size", "claim", "created", "schema"})


def command(
    reference: Reference, *, endpoint: Endpoint = "", output: Format = Output.TABLE
) -> None:
    """Print all that is known of a volume: record, device, mounts, who uses it, health, calls."""
    with connected(endpoint) as client:
        row = describe(client, find_id(client, reference))
    if not output.is_table:
        print_rows(output, (), [row])
        return
    for line in _lines(row):
        console().print(printable(line), soft_wrap=True)


def describe(client: Client, volume_id: str) -> Row:
    """Return the description of the volume as a row. Raises: CallFailed."""
    request = inspect_pb2.InspectVolumeRequest(volume_id=volume_id)
    answer = client.call(client.inspection.InspectVolume, request)
    return {"id": volume_id, **_row(answer), "calls": [*_calls(client, volume_id)]}


def find_id(client: Client, reference: str) -> str:
    """Return the id of the volume that `reference` names: NAMESPACE/CLAIM, the name of a
    PersistentVolume, an id or its beginning. Raises: CallFailed; typer.Exit: there is no such
    volume, or there are several.
    """
    if FULL_ID.match(reference):
        return reference
    try:
        return str(find_volume(reference, volume_rows(client))["id"])
    except LookupError as error:
        fail(str(error))


def _row(answer: inspect_pb2.InspectVolumeResponse) -> Row:
    """Return the answer with the names of its fields; sizes are numbers."""
    row: Row = _with_numbers(
        json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    )
    return row | {key: row.get(key) for key in ("device", "usage")}


def _with_numbers(value: Any) -> Any:
    """Return the value with 64-bit numbers as numbers, which protobuf's JSON has as text."""
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    if isinstance(value, dict):
        return {
            key: int(each)
            if key.endswith("_bytes") or key in {"extents", "inodes", "inodes_used"}
            else each
            if key == "record"
            else _with_numbers(each)
            for key, each in value.items()
        }
    return value


def _calls(client: Client, volume_id: str) -> Iterator[Row]:
    """Yield the last calls about the volume that the driver keeps."""
    request = inspect_pb2.FollowCallsRequest(past=_CALLS, past_only=True)
    calls = [
        call
        for call in client.calls(request)
        if volume_id in call.request or volume_id in call.response
    ]
    return map(call_row, calls[-_SHOWN_CALLS:])


def _lines(row: Row) -> Iterator[str]:
    record = row["record"]
    yield from _fields(
        ("Volume", row["id"]),
        ("Name", record.get("name", "")),
        ("Claim", record.get("claim", "-")),
        ("Node", row["node"]),
        ("Pool", row["pool"]),
        ("Size", f"{human(int(record.get('size', 0)))}, {_written(row)}"),
        ("Created", timestamp(float(record.get("created", 0))) or "?"),
        ("Device", _device(row["device"])),
        ("Disk", ", ".join(f"/dev/{name}" for name in row["disks"]) or "-"),
        ("Filesystem", _usage(row["usage"])),
    )
    yield from _section("Mounts", [_mount(mount) for mount in row["mounts"]])
    yield from _section("Used by", row["holders"])
    yield from _section("Health", [_fault(fault) for fault in row["faults"]] or ["ok"])
    yield from _section("Snapshots", row["snapshots"])
    yield from _section("Clones", row["clones"])
    yield from _section(
        "Record", [f"{key}: {record[key]}" for key in sorted(record) if key not in _IN_TABLE]
    )
    yield from _section("Last calls", [format_call(call) for call in row["calls"]])


def _fields(*fields: tuple[str, str]) -> Iterator[str]:
    return (f"{name + ':':<12} {text}" for name, text in fields)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield a title with its lines below, or with "-" if there are none."""
    if not lines:
        yield f"{title + ':':<12} -"
        return
    yield f"{title}:"
    yield from (f"  {line}" for line in lines)


def _written(row: Row) -> str:
    written = human(row["written_bytes"])
    extents = row["extents"]
    return f"{written} written, extents: {extents}" if extents else f"at most {written} written"


def _device(device: Row | None) -> str:
    if device is None:
        return "not attached"
    return f"{device['path']} ({device['number']}){', read-only' * device['read_only']}"


def _usage(usage: Row | None) -> str:
    if usage is None:
        return "not mounted"
    text = f"{human(usage['used_bytes'])} of {human(usage['total_bytes'])} used"
    inodes = f", {usage['inodes_used']} of {usage['inodes']} inodes" * bool(usage["inodes"])
    return f"{text}, {human(usage['available_bytes'])} available{inodes}"


def _fault(fault: Row) -> str:
    return f"{fault['kind']} ({fault['severity']}): {fault['text']}"


def _mount(mount: Row) -> str:
    kind = "staging path" if mount["staging"] else "raw device" if mount["raw"] else "pod"
    return f"{mount['path']}  ({kind})  {','.join(mount['options'])}".rstrip()
