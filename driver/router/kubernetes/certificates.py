"""The certificates of a cluster, stored in Secrets.

The first router that finds none creates them. They are renewed in time; Secrets that were created
by others are not changed. Several routers may do this at the same time.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from loguru import logger

from driver.core.errors import Invalid
from driver.router.kubernetes.api import Api, ApiError, Json
from driver.tls import authority
from driver.tls import identity as tls
from driver.tls.authority import Authority

VALIDITY: Final = 90  # days
CHECK_INTERVAL: Final = 60.0  # seconds
RETRY_INTERVAL: Final = 2.0  # seconds after an error, or a conflict with another router
LABELS: Final = {"app.kubernetes.io/managed-by": "cellar-route"}  # the Secrets that are ours
KIND: Final = "kubernetes.io/tls"


class Secrets:
    """Creates, renews and reads the certificates for TLS between routers and nodes, in the Secrets
    PREFIX-ca, PREFIX-router and PREFIX-node.

    The Secret PREFIX-ca has the private key that signs the other certificates; that Secret is read
    only when a certificate has to be issued, and is mounted in no pod. `problem`: why the last
    attempt failed; None: the last attempt succeeded.
    """

    identity: tls.Identity

    def __init__(
        self,
        api: Api,
        namespace: str,
        prefix: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._prefix = prefix
        self._clock = clock
        self._ready = asyncio.Event()
        self._changed = False
        self.problem: str | None = "the certificates were not read yet"

    async def ready(self) -> None:
        """Wait, without a time limit, until the router's own certificate and key were read."""
        await self._ready.wait()

    def changed(self) -> bool:
        """Return whether the router's certificate has changed since the last call of `changed`."""
        changed, self._changed = self._changed, False
        return changed

    async def repeat(self) -> None:
        """Create, renew and read the certificates every CHECK_INTERVAL seconds, until cancelled."""
        while True:
            delay = CHECK_INTERVAL
            try:
                await self.synchronise()
                self.problem = None
            except (ApiError, Invalid) as error:
                delay = RETRY_INTERVAL
                self._failed(error)
            await asyncio.sleep(delay)

    async def synchronise(self) -> None:
        """Create the missing certificates, renew those that expire soon and were issued by this
        driver, and load the router's.

        Raises: ApiError, also for a conflict with another router; Invalid if a Secret does not
        contain a usable certificate or the router's certificate has expired.
        """
        secrets = {identity: await self._find(identity) for identity in authority.IDENTITIES}
        if any(self._is_missing_or_due(secret) for secret in secrets.values()):
            ca = await self._authority()
            for identity, secret in secrets.items():
                await self._issue_if_due(identity, secret, ca)
        self._use(await self._get("router"))

    async def _issue_if_due(self, identity: str, secret: Json | None, ca: Authority) -> None:
        """Create or renew one certificate: also one of ours that another CA has signed.

        That CA may have been lost, and all have to trust the same one.
        """
        if secret is None:
            await self._create(identity, self._issued(identity, ca))
        elif _is_ours(secret) and (self._is_due(secret) or _value(secret, "ca.crt") != ca.pem()):
            data = _encoded(self._issued(identity, ca))
            await self._api.replace(
                f"{self._path}/{self._name(identity)}", {**secret, "data": data}
            )
            logger.info("renewed the certificate in {}", self._name(identity))

    def _is_missing_or_due(self, secret: Json | None) -> bool:
        return secret is None or (_is_ours(secret) and self._is_due(secret))

    def _is_due(self, secret: Json) -> bool:
        try:
            return authority.is_due(_value(secret, "tls.crt"), self._clock())
        except Invalid:  # ours, and damaged: issued again
            return True

    def _issued(self, identity: str, ca: Authority) -> dict[str, bytes]:
        certificate, key = ca.issue(identity, self._clock(), VALIDITY)
        return {"ca.crt": ca.pem(), "tls.crt": certificate, "tls.key": key}

    async def _authority(self) -> Authority:
        secret = await self._find("ca")
        if secret is None:
            ca = Authority.new(self._clock())
            values = {"ca.crt": ca.pem(), "tls.crt": ca.pem(), "tls.key": ca.key_pem()}
            await self._create("ca", values)
            secret = await self._get("ca")  # perhaps of another router, which was first
        try:
            return Authority.read(_value(secret, "tls.crt"), _value(secret, "tls.key"))
        except Invalid as error:
            raise Invalid(f"Secret {self._name('ca')}: {error}") from None

    def _use(self, secret: Json) -> None:
        try:
            files = [_value(secret, name) for name in tls.FILES]
            _, end = authority.validity(files[1])
        except Invalid as error:
            raise Invalid(f"Secret {self._name('router')}: {error}") from None
        if end < self._clock():
            raise Invalid(f"the certificate in Secret {self._name('router')} expired at {end}")
        identity = tls.Identity(*files)
        if self._ready.is_set() and identity == self.identity:
            return
        self._changed = self._ready.is_set()
        self.identity = identity
        self._ready.set()
        logger.info("loaded the certificate of Secret {}", self._name("router"), until=str(end))

    async def _create(self, name: str, values: dict[str, bytes]) -> None:
        """Create a Secret; no-op if another router was first."""
        metadata = {"name": self._name(name), "labels": LABELS}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": KIND}
        try:
            await self._api.create(self._path, {**body, "data": _encoded(values)})
        except ApiError as error:
            if not error.conflict:
                raise
        else:
            logger.info("created Secret {}", self._name(name))

    async def _find(self, name: str) -> Json | None:
        try:
            return await self._get(name)
        except ApiError as error:
            if not error.absent:
                raise
            return None

    async def _get(self, name: str) -> Json:
        return await self._api.get(f"{self._path}/{self._name(name)}")

    def _name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _failed(self, error: Exception) -> None:
        if str(error) != self.problem:
            logger.warning("certificates: {}", error)
        self.problem = str(error)


def _is_ours(secret: Json) -> bool:
    labels = secret["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in LABELS.items())


def _encoded(values: dict[str, bytes]) -> dict[str, str]:
    return {name: b64encode(value).decode() for name, value in values.items()}


def _value(secret: Json, name: str) -> bytes:
    """Return a value of a Secret. Raises: Invalid if it is missing or not base64."""
    try:
        return b64decode((secret.get("data") or {})[name])
    except (KeyError, ValueError):
        raise Invalid(f"it has no {name}") from None
