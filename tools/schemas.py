"""What kubeconform compares manifests with: Kubernetes' own OpenAPI, and the snapshot CRDs'."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from tools import e2e_parts
from tools.shell import is_done, mark_done, say

FOLDER: Final = e2e_parts.E2E / "schemas"
FREE: Final = (  # strings by their type, but numbers are as welcome
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
)

Schema: TypeAlias = dict[str, Any]


def write() -> Path:
    """.cache/e2e/schemas, with a file for each kind of object, named as kubeconform wants it."""
    version = e2e_parts.KUBERNETES[e2e_parts.NEWEST]
    stamp = FOLDER.with_suffix(".stamp")
    if not is_done(stamp, version):
        say("writing the schemas of Kubernetes' objects")
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        for name, schema in (*_own(), *_custom()):
            (FOLDER / name).write_text(json.dumps(schema), encoding="utf-8")
        mark_done(stamp, version)
    return FOLDER


def _own() -> Iterator[tuple[str, Schema]]:
    """Strict: a field that is misspelt is an error."""
    source = e2e_parts.module("k8s.io/kubernetes") / "api/openapi-spec/swagger.json"
    definitions: dict[str, Schema] = json.loads(source.read_text(encoding="utf-8"))["definitions"]
    for name, definition in definitions.items():
        if "properties" in definition:
            definition["additionalProperties"] = False
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            reference = {"$ref": f"_definitions.json#/definitions/{name}"}
            yield _file(kind["group"], kind["version"], kind["kind"]), reference
    definitions |= {name: {} for name in FREE}
    yield "_definitions.json", {"definitions": definitions}


def _custom() -> Iterator[tuple[str, Schema]]:
    for path in sorted(e2e_parts.crds().glob("*.k8s.io_*.yaml")):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        for version in spec["versions"]:
            name = _file(spec["group"], version["name"], spec["names"]["kind"])
            yield name, version["schema"]["openAPIV3Schema"]


def _file(group: str, version: str, kind: str) -> str:
    parts = [kind, group.partition(".")[0], version]
    return f"{'-'.join(filter(None, parts)).lower()}.json"
