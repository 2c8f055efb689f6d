"""Our proto says what the specification's own file says, number by number.

Its files come as a Go module; `make test` fetches them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from csi_proto import csi_pb2  # registers the options, so that they are read by name
from tools.proto import WELL_KNOWN
from tools.shell import CACHE

Facts = dict[str, str]

KEPT_FROM_1_12 = {
    "csi.v1.VolumeCondition",
    "csi.v1.VolumeCondition.abnormal",
    "csi.v1.VolumeCondition.message",
    "csi.v1.ListVolumesResponse.VolumeStatus.volume_condition",
    "csi.v1.ControllerGetVolumeResponse.VolumeStatus.volume_condition",
    "csi.v1.NodeGetVolumeStatsResponse.volume_condition",
    "csi.v1.ControllerServiceCapability.RPC.Type.VOLUME_CONDITION",
    "csi.v1.NodeServiceCapability.RPC.Type.VOLUME_CONDITION",
}


def test_all_of_1_13_and_what_1_12_had_more_and_nothing_else(tmp_path: Path) -> None:
    older, newer = _spec("v1.12.0", tmp_path), _spec("v1.13.0", tmp_path)
    assert older.keys() - newer.keys() == KEPT_FROM_1_12
    assert _ours() == {**older, **newer}


def test_clients_of_1_12_are_understood(tmp_path: Path) -> None:
    older, ours = _spec("v1.12.0", tmp_path), _ours()
    assert {name: ours.get(name) for name in older} == older


def test_the_comparison_sees_every_kind_of_fact() -> None:
    ours = _ours()
    expected = {
        "csi.v1.CreateVolumeRequest": "message",
        "csi.v1.CreateVolumeRequest.name": "1 optional string",
        "csi.v1.CreateVolumeRequest.secrets": (
            "5 repeated message .csi.v1.CreateVolumeRequest.SecretsEntry [csi.v1.csi_secret]: true"
        ),
        "csi.v1.VolumeCapability.block": (
            "1 optional message .csi.v1.VolumeCapability.BlockVolume in access_type"
        ),
        "csi.v1.VolumeCapability.AccessMode.Mode.SINGLE_NODE_MULTI_WRITER": (
            "7 [csi.v1.alpha_enum_value]: true"
        ),
        "csi.v1.csi_secret": "1059 optional bool extends .google.protobuf.FieldOptions",
        "csi.v1.SnapshotMetadata": "service [csi.v1.alpha_service]: true",
        "csi.v1.SnapshotMetadata.GetMetadataDelta": (
            ".csi.v1.GetMetadataDeltaRequest -> stream .csi.v1.GetMetadataDeltaResponse"
        ),
    }
    assert {name: ours[name] for name in expected} == expected
    assert sum(" -> " in fact for fact in ours.values()) == 36


def _ours() -> Facts:
    file = FileDescriptorProto()
    csi_pb2.DESCRIPTOR.CopyToProto(file)
    return dict(_facts(file))


def _spec(version: str, scratch: Path) -> Facts:
    folder = CACHE / "spec" / version
    if not (folder / "csi.proto").exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"there is no {folder}/csi.proto")
        pytest.skip(f"the specification {version} is not here; `make test` fetches it")
    target = scratch / version
    arguments = [f"--proto_path={folder}", f"--proto_path={WELL_KNOWN}"]
    status = protoc.main(["protoc", *arguments, f"--descriptor_set_out={target}", "csi.proto"])
    assert status == 0
    [file] = FileDescriptorSet.FromString(target.read_bytes()).file
    return dict(_facts(file))


def _facts(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield everything that a program on the other side of the wire could notice."""
    yield "syntax", file.syntax
    for message in file.message_type:
        yield from _message(file.package, message)
    for enum in file.enum_type:
        yield from _enum(file.package, enum)
    for service in file.service:
        yield from _service(file.package, service)
    for extension in file.extension:
        yield f"{file.package}.{extension.name}", _field(extension, [])


def _message(parent: str, message: DescriptorProto) -> Iterator[tuple[str, str]]:
    name = f"{parent}.{message.name}"
    yield name, _words("message", message.options)
    oneofs = [oneof.name for oneof in message.oneof_decl]
    for field in message.field:
        yield f"{name}.{field.name}", _field(field, oneofs)
    for nested in message.nested_type:
        yield from _message(name, nested)
    for enum in message.enum_type:
        yield from _enum(name, enum)


def _field(field: FieldDescriptorProto, oneofs: list[str]) -> str:
    return _words(
        field.number,
        FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower(),
        FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower(),
        field.type_name,
        f"extends {field.extendee}" if field.extendee else "",
        f"in {oneofs[field.oneof_index]}" if field.HasField("oneof_index") else "",
        "proto3 optional" if field.proto3_optional else "",
        field.options,
    )


def _enum(parent: str, enum: EnumDescriptorProto) -> Iterator[tuple[str, str]]:
    name = f"{parent}.{enum.name}"
    yield name, _words("enum", enum.options)
    for value in enum.value:
        yield f"{name}.{value.name}", _words(value.number, value.options)


def _service(parent: str, service: ServiceDescriptorProto) -> Iterator[tuple[str, str]]:
    name = f"{parent}.{service.name}"
    yield name, _words("service", service.options)
    for method in service.method:
        yield (
            f"{name}.{method.name}",
            _words(
                "stream" if method.client_streaming else "",
                method.input_type,
                "->",
                "stream" if method.server_streaming else "",
                method.output_type,
                method.options,
            ),
        )


def _words(*words: object) -> str:
    return " ".join(text for word in words if (text := str(word).strip()))
