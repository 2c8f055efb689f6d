"""The running copies of a driver, and its conditions, as rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from csi_proto import inspect_pb2
from driver.cli.client import CallFailed, Client
from driver.cli.output import Row


def copy_rows(client: Client) -> Iterator[Row]:
    """Yield a row for each copy of an image that runs in the background; nothing if the driver is
    an older version that does not serve ListCopies. Raises: CallFailed.
    """
    answer = _ask(client, client.inspection.ListCopies, inspect_pb2.ListCopiesRequest())
    for copy in answer.copies if answer else ():
        yield {
            "node": copy.node,
            "text": copy.text,
            "total_bytes": copy.total_bytes,
            "copied_bytes": copy.copied_bytes,
            "seconds": round(copy.seconds, 1),
            "claim": copy.claim,
        }


def condition_rows(client: Client) -> Iterator[Row]:
    """Yield a row for each alert rule whose condition is true now; nothing if the driver is an
    older version that does not serve ListConditions.

    Raises: CallFailed.
    """
    answer = _ask(client, client.inspection.ListConditions, inspect_pb2.ListConditionsRequest())
    for condition in answer.conditions if answer else ():
        yield condition_row(
            condition.alert,
            condition.severity,
            condition.text,
            node=condition.node,
            volume_id=condition.volume_id,
        )


def condition_row(alert: str, severity: str, text: str, *, node: str, volume_id: str = "") -> Row:
    """Return the row that says that the condition of an alert rule is true. `alert`: the rule's
    name; `volume_id`: the volume that the alert concerns; "": none.
    """
    return {
        "node": node,
        "alert": alert,
        "severity": severity,
        "volume_id": volume_id,
        "text": text,
    }


def _ask(client: Client, method: Any, request: Any) -> Any:
    """Return the answer; None if the driver does not know the method."""
    try:
        return client.call(method, request)
    except CallFailed as error:
        if error.code is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        return None
