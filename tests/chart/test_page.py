"""The page in a cluster: a container of its own, off the pod network unless that is said."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tools import chart, e2e_parts

pytestmark = pytest.mark.chart

ON = ("--set", "page.enabled=true")
ON_NETWORK = (*ON, "--set", "page.podNetwork=true")
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    e2e_parts.chart_tools()


def of(kind: str, *arguments: str) -> list[Any]:
    objects = yaml.safe_load_all(chart.template(arguments, apis=chart.SNAPSHOT_APIS))
    return [each for each in objects if each and each["kind"] == kind]


def pages(*arguments: str) -> dict[str, Any]:
    """The containers with the page, by the kind of their object."""
    return {
        kind: container
        for kind in ("DaemonSet", "Deployment")
        for each in of(kind, *arguments)
        for container in each["spec"]["template"]["spec"]["containers"]
        if container["name"] == "page"
    }


def ports(kind: str, *arguments: str) -> list[str]:
    """The names of all ports of the policies or the Services."""
    objects = of(kind, *arguments)
    rules = [rule for each in objects for rule in each["spec"].get("ingress", [each["spec"]])]
    return [port.get("name", port.get("port")) for rule in rules for port in rule["ports"]]


def test_the_page_is_off_unless_it_is_said() -> None:
    assert pages() == {}


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_the_page_can_read_the_socket_and_nothing_else(kind: str) -> None:
    page = pages(*ON)[kind]
    context = page["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert "privileged" not in context
    mounts = {mount["mountPath"]: mount for mount in page["volumeMounts"]}
    assert set(mounts) == {"/csi", TOKEN}
    assert all(mount["readOnly"] for mount in mounts.values())
    (owner,) = of(kind, *ON)
    volumes = {each["name"]: each for each in owner["spec"]["template"]["spec"]["volumes"]}
    assert volumes[mounts[TOKEN]["name"]]["emptyDir"] == {}, "no token in its place"
    assert volumes[mounts["/csi"]["name"]]


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_the_user_of_the_page_is_the_one_of_the_socket(kind: str) -> None:
    user = {"DaemonSet": 0, "Deployment": 65532}[kind]
    assert pages(*ON)[kind]["securityContext"]["runAsUser"] == user


def test_the_page_listens_on_the_loopback_address_and_no_service_or_policy_names_it() -> None:
    for page in pages(*ON).values():
        assert "--listen=127.0.0.1:9502" in page["args"]
        assert page["ports"] == [{"name": "page", "containerPort": 9502}]
    assert "page" not in ports("Service", *ON)
    assert "page" not in ports("NetworkPolicy", *ON)


def test_on_the_pod_network_it_is_for_those_who_may_read_the_metrics() -> None:
    for page in pages(*ON_NETWORK).values():
        assert "--listen=:9502" in page["args"]
    assert ports("Service", *ON_NETWORK).count("page") == 2
    policies = of("NetworkPolicy", *ON_NETWORK)
    for policy in policies:
        (rule,) = [each for each in policy["spec"]["ingress"] if "page" in str(each["ports"])]
        assert {"protocol": "TCP", "port": "metrics"} in rule["ports"]
        assert rule["from"][0]["namespaceSelector"]
    nobody = (*ON_NETWORK, "--set", "networkPolicy.metricsFrom=null")
    assert "page" not in ports("NetworkPolicy", *nobody)


def test_the_page_never_decides_whether_the_driver_is_ready() -> None:
    for page in pages(*ON).values():
        assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(page)
