"""Certificates that routers make for themselves and the nodes, against a small API server."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driver.core.errors import Invalid
from driver.router.kubernetes import client
from driver.router.kubernetes.api import ApiError, Json
from driver.router.kubernetes.certificates import VALIDITY, Secrets
from driver.tls import authority
from driver.tls.authority import Authority
from tests.cluster.fake_apiserver import FakeCluster
from tests.cluster.kube import NAMESPACE, SECRETS
from tests.support.waiting import wait_until_async

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = {"cellar-ca", "cellar-router", "cellar-node"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, days: float) -> None:
        self.now += timedelta(days=days)


@pytest.fixture
def cluster(server: tuple[FakeCluster, Path]) -> FakeCluster:
    return server[0]


Scenario = Callable[[Callable[[], Secrets], Clock], Awaitable[None]]


@pytest.fixture
def play(server: tuple[FakeCluster, Path]) -> Callable[[Scenario], None]:
    """A story of routers, each made by a call."""

    def run(scenario: Scenario) -> None:
        async def live() -> None:
            clock = Clock()
            async with client.connect(server[1]) as api:
                await scenario(lambda: Secrets(api, NAMESPACE, "cellar", clock), clock)

        asyncio.run(live())

    return run


def value(cluster: FakeCluster, name: str, file: str) -> bytes:
    return b64decode(cluster.objects[SECRETS][name]["data"][file])


def given(cluster: FakeCluster, name: str, **files: bytes) -> None:
    """Somebody else's Secret."""
    data = {file.replace("_", "."): b64encode(data_).decode() for file, data_ in files.items()}
    cluster.put(SECRETS, name, type="kubernetes.io/tls", data=data)


def test_the_first_router_makes_all_and_keeps_the_key_of_the_ca_apart(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        secrets = router()
        await secrets.synchronise()
        assert set(cluster.objects[SECRETS]) == NAMES
        assert secrets.identity.certificate == value(cluster, "cellar-router", "tls.crt")
        ca = Authority.read(
            value(cluster, "cellar-ca", "tls.crt"), value(cluster, "cellar-ca", "tls.key")
        )
        for identity in ("router", "node"):
            secret = cluster.objects[SECRETS][f"cellar-{identity}"]
            assert set(secret["data"]) == {"ca.crt", "tls.crt", "tls.key"}
            assert value(cluster, f"cellar-{identity}", "ca.crt") == ca.pem()
            assert value(cluster, f"cellar-{identity}", "tls.key") != ca.key_pem()
            begin, end = authority.validity(value(cluster, f"cellar-{identity}", "tls.crt"))
            assert end - begin == timedelta(days=VALIDITY) + authority.CLOCK_TOLERANCE
        assert not secrets.changed()

    play(scenario)


def test_what_is_there_and_in_time_is_not_touched(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        await router().synchronise()
        before = cluster.version
        clock.pass_(VALIDITY * 2 / 3 - 1)
        await router().synchronise()
        assert cluster.version == before

    play(scenario)


def test_leaves_are_renewed_at_two_thirds_by_the_same_ca(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        secrets = router()
        await secrets.synchronise()
        old, ca = secrets.identity, cluster.objects[SECRETS]["cellar-ca"]
        node = value(cluster, "cellar-node", "tls.crt")
        clock.pass_(VALIDITY * 2 / 3 + 1)
        await secrets.synchronise()
        assert secrets.changed()
        assert not secrets.changed()
        assert secrets.identity.certificate != old.certificate
        assert secrets.identity.ca == old.ca
        assert value(cluster, "cellar-node", "tls.crt") != node
        assert cluster.objects[SECRETS]["cellar-ca"] == ca

    play(scenario)


@pytest.mark.parametrize("passed", [0, VALIDITY * 2 / 3 + 1])
def test_routers_that_begin_at_once_agree(
    cluster: FakeCluster, play: Callable[[Scenario], None], passed: float
) -> None:
    """On secrets CA, and each of them has a certificate that is in the cluster."""

    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        if passed:
            await router().synchronise()
            clock.pass_(passed)
        routers = [router() for _ in range(4)]
        await asyncio.gather(*(patiently(router) for router in routers))
        await asyncio.gather(*(patiently(router) for router in routers))
        now = value(cluster, "cellar-router", "tls.crt")
        assert {router.identity.certificate for router in routers} == {now}
        ca = value(cluster, "cellar-ca", "tls.crt")
        assert {value(cluster, f"cellar-{each}", "ca.crt") for each in ("node", "router")} == {ca}
        assert not authority.is_due(now, clock.now)

    play(scenario)


async def patiently(secrets: Secrets) -> None:
    """As `keep` does it: a lost race is tried again."""
    while True:
        try:
            return await secrets.synchronise()
        except ApiError as error:
            if not error.conflict:
                raise


def test_given_secrets_are_read_and_never_written(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        ca = Authority.new(NOW)
        for identity in ("router", "node"):
            certificate, key = ca.issue(identity, NOW, 10)
            given(cluster, f"cellar-{identity}", ca_crt=ca.pem(), tls_crt=certificate, tls_key=key)
        before = cluster.version
        secrets = router()
        await secrets.synchronise()
        assert secrets.identity.ca == ca.pem()
        clock.pass_(9)
        await secrets.synchronise()
        assert (cluster.version, set(cluster.objects[SECRETS])) == (before, NAMES - {"cellar-ca"})
        clock.pass_(2)
        with pytest.raises(Invalid, match="cellar-router expired"):
            await secrets.synchronise()
        certificate, key = ca.issue("router", clock.now, 10)
        given(cluster, "cellar-router", ca_crt=ca.pem(), tls_crt=certificate, tls_key=key)
        await secrets.synchronise()
        assert secrets.changed()

    play(scenario)


def test_a_given_ca_signs_what_is_missing(
    cluster: FakeCluster, play: Callable[[Scenario], None]
) -> None:
    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        ca = Authority.new(NOW)
        given(cluster, "cellar-ca", tls_crt=ca.pem(), tls_key=ca.key_pem())
        secrets = router()
        await secrets.synchronise()
        assert secrets.identity.ca == ca.pem()
        given(cluster, "cellar-ca", tls_crt=ca.pem(), tls_key=Authority.new(NOW).key_pem())
        cluster.remove(SECRETS, "cellar-node")
        with pytest.raises(Invalid, match="Secret cellar-ca: the key is not that"):
            await secrets.synchronise()

    play(scenario)


@pytest.mark.parametrize("lost", [{"cellar-ca", "cellar-node"}, NAMES])
def test_after_a_theft_all_get_certificates_of_a_new_ca(
    cluster: FakeCluster, play: Callable[[Scenario], None], lost: set[str]
) -> None:
    """Deleting them is enough; whoever has the old ones is a stranger."""

    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        secrets = router()
        await secrets.synchronise()
        old = secrets.identity
        for name in lost:
            cluster.remove(SECRETS, name)
        await secrets.synchronise()
        assert secrets.changed()
        assert secrets.identity.ca != old.ca
        assert secrets.identity.ca == value(cluster, "cellar-node", "ca.crt")

    play(scenario)


def test_a_server_that_cannot_be_reached_is_asked_again(
    cluster: FakeCluster, play: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driver.router.kubernetes.certificates.RETRY_INTERVAL", 0.01)

    async def scenario(router: Callable[[], Secrets], clock: Clock) -> None:
        secrets = router()
        keeping = asyncio.create_task(secrets.repeat())
        await wait_until_async(lambda: "not able to answer" in str(secrets.problem))
        cluster.refuse = ""
        await wait_until_async(lambda: not secrets.problem)
        await secrets.ready()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    cluster.refuse = "."
    play(scenario)


def test_a_renewal_that_another_router_made_meanwhile_is_kept(
    server: tuple[FakeCluster, Path],
) -> None:
    """The resourceVersion decides."""
    _, kubeconfig = server
    clock = Clock()

    async def live() -> None:
        async with client.connect(kubeconfig) as api:
            other = Secrets(api, NAMESPACE, "cellar", clock)
            await other.synchronise()
            clock.pass_(VALIDITY * 2 / 3 + 1)

            class Interrupted:
                create, replace, watch = api.create, api.replace, api.watch

                async def get(self, path: str, **query: str) -> Json:
                    secret = await api.get(path, **query)
                    if path.endswith("router"):
                        await other.synchronise()
                    return secret

            late = Secrets(Interrupted(), NAMESPACE, "cellar", clock)
            with pytest.raises(ApiError) as caught:
                await late.synchronise()
            assert caught.value.conflict
            await late.synchronise()
            assert late.identity == other.identity

    asyncio.run(live())
