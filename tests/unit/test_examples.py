"""The manifests in deploy/examples can be read, are in the list, and name only parameters that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from driver.csi import parameters
from tests import examples
from tests.documents import Block, blocks

DRIVER: Final = "cellar.csi.internal"
NAMES: Final = [path.stem for path in examples.paths()]
CLUSTER_WIDE: Final = {"StorageClass", "VolumeAttributesClass"}


def objects_of(kind: str) -> list[Any]:
    return [found for name in NAMES for found in examples.objects(name) if found["kind"] == kind]


def volumes_of_pods() -> list[dict[str, Any]]:
    return [volume for pod in objects_of("Pod") for volume in pod["spec"].get("volumes", ())]


def claims() -> list[dict[str, Any]]:
    """Return the specs of all claims, with those of templates."""
    templates = [
        template
        for found in objects_of("StatefulSet")
        for template in found["spec"]["volumeClaimTemplates"]
    ]
    of_pods = [
        volume["ephemeral"]["volumeClaimTemplate"]
        for volume in volumes_of_pods()
        if "ephemeral" in volume
    ]
    claimed = [*objects_of("PersistentVolumeClaim"), *templates, *of_pods]
    return [claim["spec"] for claim in claimed]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_it_shows_and_then_is_objects(name: str) -> None:
    assert re.match(r"# [A-Z]", examples.text(name))
    assert all({"apiVersion", "kind", "metadata"} <= set(found) for found in examples.objects(name))


def test_every_example_is_in_the_list_with_a_link() -> None:
    listed = re.findall(r"\]\(([\w-]+\.yaml)\)", (examples.FOLDER / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in examples.paths())


def test_every_example_is_applied_in_a_cluster() -> None:
    source = (examples.ROOT / "tests/e2e/test_04_examples.py").read_text()
    assert [name for name in NAMES if f'"{name}"' not in source] == []


def test_every_image_has_another_name_in_the_cluster() -> None:
    source = (examples.ROOT / "tests/e2e/test_04_examples.py").read_text()
    images = {image for name in NAMES for image in examples.images(name)}
    assert images
    assert {image for image in images if f'"{image}": ' not in source} == set()


def test_no_two_examples_have_an_object_of_the_same_name() -> None:
    names = [
        (found["kind"], found["metadata"]["name"])
        for name in NAMES
        for found in examples.objects(name)
    ]
    assert len(names) == len(set(names))


def test_the_parameters_of_classes_and_pods_are_accepted() -> None:
    storage, attributes = objects_of("StorageClass"), objects_of("VolumeAttributesClass")
    inline = [volume["csi"] for volume in volumes_of_pods() if "csi" in volume]
    assert storage and attributes and inline
    for found in storage:
        assert found["provisioner"] == DRIVER
        parameters.parse(found["parameters"], {})
    for found in attributes:
        assert found["driverName"] == DRIVER
        assert parameters.parse_limits(found["parameters"])
    for found in inline:
        assert found["driver"] == DRIVER
        parameters.parse_inline(found["volumeAttributes"])


def test_a_claim_names_a_class_that_the_chart_or_its_example_has() -> None:
    values = yaml.safe_load(Path("charts/cellar/values.yaml").read_text())
    for key, kind, field in (
        ("storageClasses", "StorageClass", "storageClassName"),
        ("attributesClasses", "VolumeAttributesClass", "volumeAttributesClassName"),
    ):
        known = {found["name"] for found in values[key]}
        known |= {found["metadata"]["name"] for found in objects_of(kind)}
        named = {claim[field] for claim in claims() if field in claim}
        assert named
        assert named <= known


def test_an_example_names_no_namespace() -> None:
    found = [found for name in NAMES for found in examples.objects(name)]
    assert not [each for each in found if "namespace" in each["metadata"]]


@pytest.mark.parametrize("block", [block for block in blocks(how="read") if block.example], ids=str)
def test_a_block_of_the_documents_is_part_of_the_example(block: Block) -> None:
    assert block.text in examples.text(block.example)
