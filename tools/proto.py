"""Makes the Python modules of every .proto file in csi_proto: `python -m tools.proto [FOLDER]`.

Messages come from protoc, their types from mypy-protobuf. The service classes are written here and
not by gRPC's own plugin: its module is four times as long (synchronous defaults, an experimental
second client), and its unimplemented methods are no coroutines, which ours all are.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, ServiceDescriptorProto

ROOT = Path(__file__).resolve().parent.parent
WELL_KNOWN = files("grpc_tools") / "_proto"  # google/protobuf/*.proto

HEADER = '''\
"""The gRPC services of {proto}, for grpc.aio. Made by `make proto`; do not edit."""

import grpc

from {package} import {module} as pb


async def _unimplemented(context):
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not implemented by this driver")
'''


def compile_protos(into: Path) -> None:
    """Write the modules and stubs of csi_proto/*.proto below `into`."""
    protos = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("csi_proto/*.proto"))
    plugins = Path(sysconfig.get_path("scripts"))
    with TemporaryDirectory() as scratch:
        descriptors = Path(scratch, "descriptors")
        _protoc(
            f"--proto_path={ROOT}",
            f"--plugin={plugins / 'protoc-gen-mypy'}",
            f"--plugin={plugins / 'protoc-gen-mypy_grpc'}",
            f"--python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{into}",
            f"--descriptor_set_out={descriptors}",
            *protos,
        )
        described = FileDescriptorSet.FromString(descriptors.read_bytes())
    for file in described.file:
        module = file.name.removesuffix(".proto") + "_pb2_grpc.py"
        Path(into, module).write_text(services_of(file), encoding="utf-8")


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments, f"--proto_path={WELL_KNOWN}"]) != 0:
        sys.exit("protoc failed")


def services_of(file: FileDescriptorProto) -> str:
    """Return the source of a `_pb2_grpc` module."""
    package, _, name = file.name.removesuffix(".proto").rpartition("/")
    parts = [HEADER.format(proto=file.name, package=package, module=f"{name}_pb2")]
    for service in file.service:
        parts += [
            "\n".join(lines(service, f"{file.package}.{service.name}"))
            for lines in (_stub, _servicer, _adder)
        ]
    return "\n\n".join(parts)


def _stub(service: ServiceDescriptorProto, full_name: str) -> Iterator[str]:
    yield f"class {service.name}Stub:"
    yield "    def __init__(self, channel):"
    for method in service.method:
        arity = "unary_stream" if method.server_streaming else "unary_unary"
        yield f"        self.{method.name} = channel.{arity}("
        yield f'            "/{full_name}/{method.name}",'
        yield f"            request_serializer={_message(method.input_type)}.SerializeToString,"
        yield f"            response_deserializer={_message(method.output_type)}.FromString,"
        yield "        )"
    yield ""


def _servicer(service: ServiceDescriptorProto, _full_name: str) -> Iterator[str]:
    yield f"class {service.name}Servicer:"
    for number, method in enumerate(service.method):
        if number:
            yield ""
        yield f"    async def {method.name}(self, request, context):"
        yield "        await _unimplemented(context)"
    yield ""


def _adder(service: ServiceDescriptorProto, full_name: str) -> Iterator[str]:
    yield f"def add_{service.name}Servicer_to_server(servicer, server):"
    yield "    handlers = {"
    for method in service.method:
        arity = "unary_stream" if method.server_streaming else "unary_unary"
        yield f'        "{method.name}": grpc.{arity}_rpc_method_handler('
        yield f"            servicer.{method.name},"
        yield f"            {_message(method.input_type)}.FromString,"
        yield f"            {_message(method.output_type)}.SerializeToString,"
        yield "        ),"
    yield "    }"
    yield f'    name = "{full_name}"'
    yield "    generic = grpc.method_handlers_generic_handler(name, handlers)"
    yield "    server.add_generic_rpc_handlers((generic,))"
    yield ""


def _message(full_name: str) -> str:
    return "pb." + full_name.rpartition(".")[2]


if __name__ == "__main__":
    compile_protos(Path(sys.argv[1]) if sys.argv[1:] else ROOT)
