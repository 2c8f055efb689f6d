"""`nodeGroups`: nodes with other pools. Needs helm, which `make chart` builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import chart, e2e_parts

pytestmark = pytest.mark.chart

OF_DEFAULT = {
    "app.kubernetes.io/name": "cellar",
    "app.kubernetes.io/instance": "cellar",
    "app.kubernetes.io/component": "node",
}
GROUP = "cellar.csi.internal/group"
NVME: dict[str, Any] = {
    "name": "nvme",
    "nodeSelector": {"disks": "nvme"},
    "pools": [{"name": "fast", "type": "loopfile", "where": "/srv/nvme"}],
}
HDD: dict[str, Any] = {
    "name": "hdd",
    "nodeSelector": {"disks": "hdd"},
    "pools": [{"name": "bulk", "type": "lvm", "where": "bulk"}],
}


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    e2e_parts.chart_tools()


@pytest.fixture
def values(tmp_path: Path) -> Path:
    return tmp_path / "values.yaml"


def daemonsets(values: Path, **given: Any) -> dict[str, Any]:
    """The DaemonSets by name, for these values."""
    values.write_text(yaml.safe_dump(given), encoding="utf-8")
    text = chart.template(["--values", str(values)], apis=chart.SNAPSHOT_APIS)
    each = [document for document in yaml.safe_load_all(text) if document]
    return {
        document["metadata"]["name"]: document
        for document in each
        if document["kind"] == "DaemonSet"
    }


def text_of_daemonset(values: Path, **given: Any) -> str:
    """The one DaemonSet, byte for byte."""
    values.write_text(yaml.safe_dump(given), encoding="utf-8")
    rendered = chart.template(["--values", str(values)]).split("---\n")
    (text,) = [part for part in rendered if "kind: DaemonSet" in part]
    return text


def expressions(daemonset: Any) -> list[list[tuple[str, str, list[str]]]]:
    """The alternatives of a DaemonSet's required node affinity."""
    affinity = daemonset["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [
        [(rule["key"], rule["operator"], rule["values"]) for rule in term["matchExpressions"]]
        for term in terms
    ]


def test_without_groups_no_pod_is_replaced(values: Path) -> None:
    """The name and the selector are immutable, and a changed pod template replaces every pod."""
    (name,) = daemonsets(values)
    (daemonset,) = daemonsets(values).values()
    assert name == "cellar-node"
    assert daemonset["spec"]["selector"] == {"matchLabels": OF_DEFAULT}
    assert daemonset["spec"]["template"]["metadata"] == {"labels": OF_DEFAULT}
    assert "affinity" not in daemonset["spec"]["template"]["spec"]
    usual = text_of_daemonset(values)
    assert text_of_daemonset(values, nodeGroups=[]) == usual
    assert text_of_daemonset(values, nodeGroups=None) == usual, "helm upgrade --reuse-values"
    committed = (chart.DEPLOY / "cellar.yaml").read_text(encoding="utf-8")
    assert usual.strip() in committed


def test_a_group_changes_only_the_nodes_of_the_default_group(values: Path) -> None:
    before = daemonsets(values)["cellar-node"]
    after = daemonsets(values, nodeGroups=[NVME, HDD])["cellar-node"]
    assert expressions(after) == [
        [("disks", "NotIn", ["nvme"]), ("disks", "NotIn", ["hdd"])],
    ]
    del after["spec"]["template"]["spec"]["affinity"]
    assert after == before


def test_a_node_lacks_one_of_the_labels_of_a_group_or_is_in_it(values: Path) -> None:
    both = NVME | {"nodeSelector": {"disks": "nvme", "rack": 3}}
    given = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
            for zone in ("a", "b")
        ]
    }
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": given}}
    (daemonset, _) = daemonsets(values, nodeGroups=[both], node={"affinity": affinity}).values()
    assert expressions(daemonset) == [
        [("zone", "In", [zone]), (key, "NotIn", [value])]
        for zone in ("a", "b")
        for key, value in (("disks", "nvme"), ("rack", "3"))
    ]


def test_each_group_is_a_daemonset_of_one_driver(values: Path) -> None:
    found = daemonsets(values, nodeGroups=[NVME, HDD])
    assert set(found) == {"cellar-node", "cellar-node-nvme", "cellar-node-hdd"}
    for group in (NVME, HDD):
        daemonset = found[f"cellar-node-{group['name']}"]
        labels = {**OF_DEFAULT, GROUP: group["name"]}
        assert daemonset["spec"]["selector"] == {"matchLabels": labels}
        assert daemonset["spec"]["template"]["metadata"]["labels"] == labels
        spec = daemonset["spec"]["template"]["spec"]
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", **group["nodeSelector"]}
    (nvme,), (hdd,) = (pools_of(found[f"cellar-node-{name}"]) for name in ("nvme", "hdd"))
    assert nvme == "--pool=fast=loopfile:/srv/nvme"
    assert hdd == "--pool=bulk=lvm:bulk"


def pools_of(daemonset: Any) -> list[str]:
    (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    return [word for word in container["args"] if word.startswith("--pool=")]


def test_a_group_has_the_folders_of_its_own_pools_only(values: Path) -> None:
    found = daemonsets(values, nodeGroups=[NVME, HDD])
    volumes = {
        name: {volume["name"] for volume in daemonset["spec"]["template"]["spec"]["volumes"]}
        for name, daemonset in found.items()
    }
    assert "pool-main" in volumes["cellar-node"]
    assert "lvm-lock" not in volumes["cellar-node"]
    assert "pool-fast" in volumes["cellar-node-nvme"]
    assert not {"pool-main", "lvm-lock"} & volumes["cellar-node-nvme"]
    assert "lvm-lock" in volumes["cellar-node-hdd"]


def test_a_group_differs_from_the_node_values_only_as_it_says(values: Path) -> None:
    own = {
        "tolerations": [{"key": "storage", "operator": "Exists"}],
        "resources": {"limits": {"memory": "1Gi"}},
        "extraArgs": ["--max-volumes=20"],
    }
    node = {"extraArgs": ["--log-level=debug"], "annotations": {"a": "b"}}
    found = daemonsets(values, node=node, nodeGroups=[NVME | own, HDD])
    nvme = found["cellar-node-nvme"]["spec"]["template"]
    (container,) = nvme["spec"]["containers"]
    assert nvme["metadata"]["annotations"] == {"a": "b"}
    assert nvme["spec"]["tolerations"] == own["tolerations"]
    assert container["resources"] == own["resources"]
    assert container["args"][-2:] == ["--log-level=debug", "--max-volumes=20"]
    hdd = found["cellar-node-hdd"]["spec"]["template"]["spec"]
    assert hdd["tolerations"] == [{"operator": "Exists"}]
    assert hdd["containers"][0]["args"][-1] == "--log-level=debug"


def test_without_pools_there_is_no_default_group(values: Path) -> None:
    alone = {key: value for key, value in NVME.items() if key != "nodeSelector"}
    (name,) = daemonsets(values, pools=[], nodeGroups=[alone])
    assert name == "cellar-node-nvme"
    assert set(daemonsets(values, pools=[], nodeGroups=[NVME, HDD])) == {
        "cellar-node-nvme",
        "cellar-node-hdd",
    }


def test_the_nodes_of_all_groups_are_found_by_the_controllers(values: Path) -> None:
    values.write_text(yaml.safe_dump({"nodeGroups": [NVME]}), encoding="utf-8")
    each = [one for one in yaml.safe_load_all(chart.template(["--values", str(values)])) if one]
    (service,) = [
        one for one in each if (one["kind"], one["metadata"]["name"]) == ("Service", "cellar-node")
    ]
    policies = {one["metadata"]["name"]: one for one in each if one["kind"] == "NetworkPolicy"}
    assert service["spec"]["selector"] == OF_DEFAULT
    assert policies["cellar-node"]["spec"]["podSelector"] == {"matchLabels": OF_DEFAULT}


def test_a_large_number_stays_the_number_that_it_is(values: Path) -> None:
    pool = {"name": "fast", "type": "loopfile", "where": "/srv/nvme", "reserve": 1 << 40}
    found = daemonsets(values, nodeGroups=[NVME | {"pools": [pool]}])
    assert pools_of(found["cellar-node-nvme"]) == [
        f"--pool=fast=loopfile:/srv/nvme,reserve={1 << 40}"
    ]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"pools": []}, "no node would have a driver"),
        ({"nodeGroups": [NVME, HDD | {"name": "nvme"}]}, "two groups named nvme"),
        ({"nodeGroups": [NVME | {"nodeSelector": {}}]}, "nvme has no nodeSelector"),
        (
            {"pools": [], "nodeGroups": [NVME, HDD | {"nodeSelector": {}}]},
            "hdd has no nodeSelector",
        ),
        ({"nodeGroups": [NVME, HDD | {"nodeSelector": {"disks": "nvme"}}]}, "also selected by"),
        (
            {"nodeGroups": [NVME, HDD | {"nodeSelector": {"disks": "nvme", "rack": "1"}}]},
            "of hdd selects is also selected by that of nvme",
        ),
        (
            {
                "nodeGroups": [
                    NVME | {"affinity": {"podAffinity": {}}},
                    HDD | {"nodeSelector": {"disks": "nvme"}},
                ]
            },
            "nvme and hdd have the same nodeSelector",
        ),
    ],
)
def test_two_drivers_on_a_node_are_refused_with_a_sentence(
    values: Path, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        daemonsets(values, **given)


@pytest.mark.parametrize(
    "group",
    [
        NVME | {"name": "Bad"},
        NVME | {"pools": []},
        NVME | {"pools": [{"name": "fast", "type": "loopfile", "where": "relative"}]},
        NVME | {"pools": [{"name": "f", "type": "loopfile", "where": "/f", "overcomit": 2}]},
        NVME | {"nodeselector": {"disks": "nvme"}},
        {"name": "nvme", "nodeSelector": {"disks": "nvme"}},
    ],
)
def test_a_group_that_cannot_be_is_refused_by_the_schema(values: Path, group: Any) -> None:
    with pytest.raises(RuntimeError, match="schema"):
        daemonsets(values, nodeGroups=[group])
