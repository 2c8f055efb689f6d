"""What helm makes of the chart. Needs helm and kubeconform, which `make chart` builds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import examples
from tests.documents import Block, blocks
from tools import chart, dashboard, e2e_parts, schemas

pytestmark = pytest.mark.chart

HERE = Path(__file__).parent
EVERYTHING = ("--values", str(HERE / "everything.yaml"))
SNAPSHOTS = chart.SNAPSHOT_APIS
FOREIGN = (
    "Certificate,ServiceMonitor,PrometheusRule,SecurityContextConstraints,SnapshotMetadataService"
)


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    e2e_parts.chart_tools()


def objects(*arguments: str, apis: Sequence[str] = SNAPSHOTS) -> list[Any]:
    text = chart.template(arguments, apis=apis)
    return [one for one in yaml.safe_load_all(text) if one]


def of(kind: str, *arguments: str, apis: Sequence[str] = SNAPSHOTS) -> list[Any]:
    return [one for one in objects(*arguments, apis=apis) if one["kind"] == kind]


def containers(*arguments: str) -> dict[str, Any]:
    (deployment,) = of("Deployment", *arguments)
    return {one["name"]: one for one in deployment["spec"]["template"]["spec"]["containers"]}


def node(*arguments: str) -> Any:
    daemonset, *_ = of("DaemonSet", *arguments)
    return daemonset["spec"]["template"]["spec"]


@pytest.mark.parametrize("path", [path.name for path in chart.rendered_paths()])
def test_what_is_committed_is_what_the_chart_says(path: str) -> None:
    (found,) = [(one, text) for one, text in chart.rendered().items() if one.name == path]
    assert found[0].read_text() == found[1], "make chart"


@pytest.mark.parametrize("values", [(), EVERYTHING])
def test_helm_lint_is_content(values: tuple[str, ...]) -> None:
    argv = [str(e2e_parts.BIN / "helm"), "lint", "--strict", str(chart.CHART), *values]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks(how="read", what="values"), ids=str)
def test_documented_values_are_accepted(block: Block, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(block.text, encoding="utf-8")
    assert objects("--values", str(values))


@pytest.mark.parametrize("name", [path.stem for path in examples.paths()])
def test_an_example_is_one_that_kubernetes_knows(name: str) -> None:
    assert _valid(examples.text(name)) == len(examples.objects(name))


@pytest.mark.parametrize("values", [(), EVERYTHING, ("--set", "attach.enabled=false")])
@pytest.mark.parametrize("apis", [(), SNAPSHOTS])
def test_every_object_is_one_that_kubernetes_knows(
    values: tuple[str, ...], apis: tuple[str, ...]
) -> None:
    assert _valid(chart.template(values, apis=apis)) > 10


def _valid(manifests: str) -> int:
    """How many objects kubeconform finds valid; none may be wrong."""
    location = f"{schemas.write()}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    argv = [str(e2e_parts.BIN / "kubeconform"), "-summary", "-output", "json", "-skip", FOREIGN]
    done = subprocess.run(
        [*argv, "-schema-location", location, "-"],
        input=manifests,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return int(json.loads(done.stdout)["summary"]["valid"])


def test_the_dashboard_is_what_the_sidecar_of_grafana_takes() -> None:
    on = ("--set", "dashboard.enabled=true", "--set", "dashboard.annotations.folder=Storage")
    (found,) = [one for one in of("ConfigMap", *on) if one not in of("ConfigMap")]
    assert json.loads(found["data"]["cellar.json"]) == dashboard.dashboard()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"folder": "Storage"}
    assert _valid(yaml.safe_dump(found)) == 1


def test_no_secret_is_in_any_render() -> None:
    for text in chart.rendered().values():
        assert "kind: Secret" not in text
        assert "PRIVATE KEY" not in text


def test_one_value_sets_every_path_of_kubelet() -> None:
    text = chart.template(["--set", "kubeletDir=/elsewhere/kubelet"], apis=SNAPSHOTS)
    assert "/var/lib/kubelet" not in text
    assert "/elsewhere/kubelet/plugins/cellar.csi.internal/csi.sock" in text


def test_the_provisioner_is_told_what_the_router_expects() -> None:
    told = set(containers()["provisioner"]["args"])
    assert told >= {
        "--enable-capacity",
        "--capacity-ownerref-level=2",
        "--capacity-threads=8",
        "--kube-api-capacity-qps=50",
        "--kube-api-capacity-burst=100",
        "--capacity-for-immediate-binding",
        "--default-fstype=ext4",
        "--extra-create-metadata",
        "--timeout=60s",
        "--immediate-topology=false",
        "--leader-election",
    }
    assert not [one for one in told if one.startswith("--strict-topology")]


def test_without_attaching_nobody_speaks_of_it() -> None:
    off = ("--set", "attach.enabled=false")
    (driver,) = of("CSIDriver", *off)
    assert driver["spec"]["attachRequired"] is False
    assert "attacher" not in containers(*off)
    assert "--no-attach" in containers(*off)["cellar"]["args"]
    assert "--no-attach" in node(*off)["containers"][0]["args"]
    (role,) = of("ClusterRole", *off)
    attachments = [one for one in role["rules"] if "volumeattachments" in one["resources"]]
    assert [one["verbs"] for one in attachments] == [["get", "list", "watch"]]


def test_pods_may_have_volumes_of_their_own_only_where_it_is_said() -> None:
    profile = "security.openshift.io/csi-ephemeral-volume-profile"
    (usual,) = of("CSIDriver")
    assert usual["spec"]["volumeLifecycleModes"] == ["Persistent"]
    assert profile not in usual["metadata"]["labels"]
    on = ("--set", "csiDriver.volumeLifecycleModes={Persistent,Ephemeral}")
    (driver,) = of("CSIDriver", *on)
    assert driver["spec"]["volumeLifecycleModes"] == ["Persistent", "Ephemeral"]
    assert driver["spec"]["podInfoOnMount"] is True, "else nobody tells the driver"
    assert driver["metadata"]["labels"][profile] == "restricted"
    (other,) = of("CSIDriver", *on, "--set", "csiDriver.inlineVolumeProfile=privileged")
    assert other["metadata"]["labels"][profile] == "privileged"
    with pytest.raises(RuntimeError, match="inlineVolumeProfile"):
        of("CSIDriver", *on, "--set", "csiDriver.inlineVolumeProfile=anybody")


def test_without_the_crds_the_snapshotter_stays_away() -> None:
    names = {one["kind"] for one in objects(apis=())}
    assert "VolumeSnapshotClass" not in names
    (deployment,) = of("Deployment", apis=())
    spec = deployment["spec"]["template"]["spec"]
    assert "snapshotter" not in {one["name"] for one in spec["containers"]}
    assert "--feature-gates=CSIVolumeGroupSnapshot=true" in containers()["snapshotter"]["args"]


def test_the_chart_owns_no_crd() -> None:
    assert of("CustomResourceDefinition", *EVERYTHING) == []
    assert not (chart.CHART / "crds").exists()


def test_the_controllers_have_no_more_rights_on_the_machine_than_they_need() -> None:
    (deployment,) = of("Deployment", *EVERYTHING)
    spec = deployment["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in spec["containers"]:
        context = one["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert not [one for one in spec["volumes"] if "hostPath" in one]


def test_the_node_is_one_container_without_rights_in_the_api() -> None:
    spec = node()
    assert [one["name"] for one in spec["containers"]] == ["cellar"]
    assert spec["automountServiceAccountToken"] is False
    assert "hostNetwork" not in spec
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["tolerations"] == [{"operator": "Exists"}]
    roles = [*of("ClusterRoleBinding"), *of("RoleBinding")]
    assert {one["name"] for role in roles for one in role["subjects"]} == {"cellar-controller"}


def test_livenessprobe_is_asked_where_it_is_there() -> None:
    on = ("--set", "nodeSidecars.enabled=true")
    named = {one["name"]: one for one in node(*on)["containers"]}
    asked = named["cellar"]["livenessProbe"]["httpGet"]
    assert f"--http-endpoint=:{asked['port']}" in named["livenessprobe"]["args"]
    (usual,) = node()["containers"]
    assert usual["livenessProbe"]["httpGet"]["port"] == "metrics"


def test_the_node_sees_the_sysfs_of_its_machine() -> None:
    (container,) = node()["containers"]
    assert {"name": "sys", "mountPath": "/sys"} in container["volumeMounts"]
    assert {"name": "sys", "hostPath": {"path": "/sys", "type": "Directory"}} in node()["volumes"]


def test_nobody_may_read_secrets_that_are_not_ours() -> None:
    rules = [
        rule
        for role in [*of("ClusterRole"), *of("Role")]
        for rule in role["rules"]
        if "secrets" in rule["resources"]
    ]
    assert [sorted(rule["verbs"]) for rule in rules] == [["create"], ["get", "update"]]
    assert rules[1]["resourceNames"] == ["cellar-ca", "cellar-router", "cellar-node"]
    given = ("--set", "tls.mode=secrets,tls.routerSecret=a,tls.nodeSecret=b")
    assert not any("secrets" in rule["resources"] for rule in _rules(*given))


def test_the_key_of_the_ca_is_mounted_nowhere() -> None:
    assert "secretName: cellar-ca" not in chart.template(EVERYTHING, apis=SNAPSHOTS)
    assert "secretName: cellar-ca" not in chart.template(apis=SNAPSHOTS)


def test_a_pool_becomes_the_flag_that_it_is() -> None:
    told = node(*EVERYTHING)["containers"][0]["args"]
    assert "--pool=fast=loopfile:/srv/fast,allocation=sparse,overcommit=2,reserve=5%" in told
    assert "--pool=bulk=loopfile:/srv/bulk" in told
    mounts = {one["mountPath"]: one for one in node(*EVERYTHING)["containers"][0]["volumeMounts"]}
    assert mounts["/srv/fast"]["mountPropagation"] == "HostToContainer"


def test_a_large_number_is_written_as_the_driver_reads_it(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    pool = {"name": "fast", "type": "loopfile", "where": "/srv/fast", "reserve": 1 << 30}
    given = {"pools": [pool | {"overcommit": 1.5}], "maxVolumes": 3_000_000}
    values.write_text(yaml.safe_dump(given), encoding="utf-8")
    told = node("--values", str(values))["containers"][0]["args"]
    assert "--pool=fast=loopfile:/srv/fast,overcommit=1.5,reserve=1073741824" in told
    assert "--max-volumes=3000000" in told


@pytest.mark.parametrize(
    "wrong",
    [
        "kubeletDir=relative",
        "kubeletdir=/x",
        "pools[0].name=Bad",
        "pools[0].where=/a\\,init=true",
        "pools[0].name=a,pools[0].type=loopfile,pools[0].where=relative",
        "pools[0].name=a,pools[0].type=loopfile,pools[0].where=/a,pools[0].allocation=sparsee",
        "pools[0].name=a,pools[0].type=loopfile,pools[0].where=/a,pools[0].overcomit=2",
        "pools[0].name=a,pools[0].type=loopfile,pools[0].where=/a,pools[0].overcommit=0",
        "pools[0].name=a,pools[0].type=loopfile,pools[0].where=/a,pools[0].reserve=101%",
        "pools[0].name=a,pools[0].type=loopfile,pools[0].where=/a,pools[0].stripes=2",
        "nodeGone.policy=perhaps",
        "storageClasses[0].name=x,storageClasses[0].parameters.pol=fast",
        "storageClasses[0].name=x,storageClasses[0].parameters.allocation=fat",
        "attributesClasses[0].name=slow,attributesClasses[0].parameters.readIops=-5",
        "storageClasses[0].reclaimpolicy=Delete",
    ],
)
def test_what_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(RuntimeError, match="schema"):
        chart.template(["--set", wrong])


@pytest.mark.parametrize(
    "told",
    [
        "storageClasses[0].name=x,storageClasses[0].parameters.readIops=100",
        "storageClasses[0].name=x,storageClasses[0].parameters.writeBps=1Mi",
        "attributesClasses[0].name=slow,attributesClasses[0].parameters.writeIops=100",
    ],
)
def test_a_limit_that_nothing_enforces_is_refused_with_the_cure(told: str) -> None:
    with pytest.raises(RuntimeError, match=r"ioLimits\.enabled=true"):
        chart.template(["--set", told])
    chart.template(["--set", told, "--set", "ioLimits.enabled=true"])


@pytest.mark.parametrize("enabled", [False, True])
def test_the_control_groups_are_mounted_for_limits_only(*, enabled: bool) -> None:
    (node,) = of("DaemonSet", *(["--set", "ioLimits.enabled=true"] if enabled else []))
    pod = node["spec"]["template"]["spec"]
    (cellar,) = pod["containers"]
    mounts = [mount for mount in cellar["volumeMounts"] if mount["name"] == "cgroup"]
    volumes = [volume for volume in pod["volumes"] if volume["name"] == "cgroup"]
    directory = {"path": "/sys/fs/cgroup", "type": "Directory"}
    assert volumes == ([{"name": "cgroup", "hostPath": directory}] if enabled else [])
    assert mounts == ([{"name": "cgroup", "mountPath": "/sys/fs/cgroup"}] if enabled else [])


def test_a_class_that_claims_may_hold_on_to_is_left_by_helm() -> None:
    told = "attributesClasses[0].name=slow,attributesClasses[0].parameters.writeIops=0"
    (found,) = of("VolumeAttributesClass", "--set", told)
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_given_certificates_must_be_named() -> None:
    with pytest.raises(RuntimeError, match="routerSecret"):
        chart.template(["--set", "tls.mode=secrets"])


def _rules(*arguments: str) -> Iterator[Any]:
    for role in [*of("ClusterRole", *arguments), *of("Role", *arguments)]:
        yield from role["rules"]


def test_metrics_are_read_by_the_namespaces_that_are_named_and_nobody_else() -> None:
    told = ("--set", "networkPolicy.metricsFrom={a,b}")
    for policy in of("NetworkPolicy", *told):
        for rule in policy["spec"]["ingress"]:
            assert rule["from"], "open to all"
    (node_policy, _) = of("NetworkPolicy", *told)
    [(expression,)] = [
        one["from"][0]["namespaceSelector"]["matchExpressions"]
        for one in node_policy["spec"]["ingress"]
        if one["ports"][0]["port"] == "metrics"
    ]
    assert expression["values"] == ["a", "b"]
    for policy in of("NetworkPolicy", "--set", "networkPolicy.metricsFrom=null"):
        assert "metrics" not in str(policy["spec"]["ingress"])


def test_the_namespace_of_kubernetes_itself_is_refused_unless_it_is_said() -> None:
    there = ("--namespace", "kube-system")
    with pytest.raises(RuntimeError, match="any Secret"):
        chart.template(there)
    assert chart.template([*there, "--set", "namespace.allowKubeSystem=true"])
