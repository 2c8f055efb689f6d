"""What can be said of the chart without helm: versions that must agree, a table that is fresh."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import chart, e2e_images, e2e_parts

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())
SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text())
GO_MOD = (e2e_parts.MODULES / "go.mod").read_text()


def test_the_chart_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert (told["version"], told["appVersion"]) == (project["version"], project["version"])


def test_the_table_of_the_readme_is_fresh() -> None:
    readme = (chart.CHART / "README.md").read_text()
    assert chart.with_table(readme) == readme, "make chart"
    assert "| `kubeletDir` | `/var/lib/kubelet` |" in readme


@pytest.mark.parametrize(("minor", "version"), e2e_parts.KUBERNETES.items())
def test_kubernetes_is_the_one_of_go_mod(minor: str, version: str) -> None:
    name = "go.mod" if minor == e2e_parts.NEWEST else f"go.{minor}.mod"
    assert version.startswith(f"v{minor}.")
    assert f"k8s.io/kubernetes {version}" in (e2e_parts.MODULES / name).read_text()


@pytest.mark.parametrize("name", ["provisioner", "attacher", "resizer", "snapshotter"])
def test_the_sidecars_that_are_tested_are_those_of_the_chart(name: str) -> None:
    version = e2e_images.SIDECARS[f"csi-{name}"]
    assert VALUES["sidecars"][name]["image"] == f"registry.k8s.io/sig-storage/csi-{name}:{version}"
    assert re.search(rf"kubernetes-csi/external-{name}/v\d+ {re.escape(version)}\s", GO_MOD)


def test_every_value_is_in_the_schema() -> None:
    assert _unknown(VALUES, SCHEMA, "") == []


def _unknown(values: Any, schema: Any, where: str) -> list[str]:
    known = schema.get("properties", {})
    if not isinstance(values, dict) or schema.get("additionalProperties") is not False:
        return []
    here = [f"{where}{key}" for key in values if key not in known]
    below = (_unknown(values[key], known[key], f"{where}{key}.") for key in values if key in known)
    return here + [one for several in below for one in several]
