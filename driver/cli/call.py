"""`cellar call`: makes one CSI call, with JSON as input and output."""

from __future__ import annotations

from typing import Annotated

import typer
from google.protobuf import json_format

from driver.cli.client import CallFailed, Client
from driver.cli.connection import Endpoint
from driver.cli.output import console

Method = Annotated[str, typer.Argument(help="The name of the RPC, as CreateVolume.")]
Fields = Annotated[str, typer.Argument(help="The request as JSON.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for the answer.")]


def command(
    method: Method, fields: Fields = "{}", *, endpoint: Endpoint, timeout: Timeout = 60
) -> None:
    """Make one CSI call by hand, with JSON in and out; exit status 1 if it fails."""
    try:
        with Client(endpoint, timeout=timeout) as client:
            rpc, request = client.method(method)
            answer = client.call(rpc, json_format.Parse(fields, request))
    except (LookupError, json_format.ParseError) as error:
        raise typer.BadParameter(str(error)) from None
    except CallFailed as error:
        console(stderr=True).print(str(error), style="red", soft_wrap=True)
        raise typer.Exit(1) from None
    console().print(
        json_format.MessageToJson(answer, preserving_proto_field_name=True), soft_wrap=True
    )


if __name__ == "__main__":
    typer.run(command)
