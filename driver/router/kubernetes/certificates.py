"""The certificates of a cluster, as Secrets: made by the first router that misses them, renewed in
time, and never touched if somebody else gave them. Several routers may do it at once.
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

DAYS: Final = 90
LOOK: Final = 60.0  # seconds between two looks
AGAIN: Final = 2.0  # seconds after an error, or a lost race
LABELS: Final = {"app.kubernetes.io/managed-by": "cellar-route"}  # the Secrets that are ours
KIND: Final = "kubernetes.io/tls"


class Secrets:
    """The Secrets PREFIX-ca, with the key that signs all others, PREFIX-router and PREFIX-node.

    The CA's is read only when a certificate has to be made, and is mounted nowhere. `problem`:
    what the last attempt failed with, or empty.
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
        self._where = f"/api/v1/namespaces/{namespace}/secrets"
        self._prefix = prefix
        self._clock = clock
        self._ready = asyncio.Event()
        self._new = False
        self.problem = "the certificates were not read yet"

    async def ready(self) -> None:
        """Wait until the router's identity was read."""
        await self._ready.wait()

    def renewed(self) -> bool:
        """Return whether the identity has changed since the last call."""
        new, self._new = self._new, False
        return new

    async def keep(self) -> None:
        """Make, renew and read the certificates every LOOK seconds, until cancelled."""
        while True:
            pause = LOOK
            try:
                await self.settle()
                self.problem = ""
            except (ApiError, Invalid) as error:
                pause = AGAIN
                self._failed(error)
            await asyncio.sleep(pause)

    async def settle(self) -> None:
        """Make the certificates that are missing, renew ours that are due, and load the router's.

        Raises: ApiError, also for a conflict with another router; Invalid if a Secret is
        unusable or the router's certificate has expired.
        """
        found = {identity: await self._find(identity) for identity in authority.IDENTITIES}
        if any(self._is_wanted(one) for one in found.values()):
            ca = await self._authority()
            for identity, secret in found.items():
                await self._settle(identity, secret, ca)
        self._take(await self._get("router"))

    async def _settle(self, identity: str, secret: Json | None, ca: Authority) -> None:
        """Make or renew one certificate: also one of ours that another CA has signed.

        That CA may have been lost, and all have to trust the same one.
        """
        if secret is None:
            await self._create(identity, self._issued(identity, ca))
        elif _is_ours(secret) and (self._is_due(secret) or _value(secret, "ca.crt") != ca.pem()):
            data = _encoded(self._issued(identity, ca))
            await self._api.replace(
                f"{self._where}/{self._name(identity)}", {**secret, "data": data}
            )
            logger.info("renewed the certificate in {}", self._name(identity))

    def _is_wanted(self, secret: Json | None) -> bool:
        return secret is None or (_is_ours(secret) and self._is_due(secret))

    def _is_due(self, secret: Json) -> bool:
        try:
            return authority.is_due(_value(secret, "tls.crt"), self._clock())
        except Invalid:  # ours, and unreadable: made anew
            return True

    def _issued(self, identity: str, ca: Authority) -> dict[str, bytes]:
        certificate, key = ca.issue(identity, self._clock(), DAYS)
        return {"ca.crt": ca.pem(), "tls.crt": certificate, "tls.key": key}

    async def _authority(self) -> Authority:
        found = await self._find("ca")
        if found is None:
            made = Authority.new(self._clock())
            values = {"ca.crt": made.pem(), "tls.crt": made.pem(), "tls.key": made.key_pem()}
            await self._create("ca", values)
            found = await self._get("ca")  # of the router that was first
        try:
            return Authority.read(_value(found, "tls.crt"), _value(found, "tls.key"))
        except Invalid as error:
            raise Invalid(f"Secret {self._name('ca')}: {error}") from None

    def _take(self, secret: Json) -> None:
        try:
            files = [_value(secret, name) for name in tls.FILES]
            _, end = authority.life(files[1])
        except Invalid as error:
            raise Invalid(f"Secret {self._name('router')}: {error}") from None
        if end < self._clock():
            raise Invalid(f"the certificate in Secret {self._name('router')} expired at {end}")
        identity = tls.Identity(*files)
        if self._ready.is_set() and identity == self.identity:
            return
        self._new = self._ready.is_set()
        self.identity = identity
        self._ready.set()
        logger.info("took the certificate of Secret {}", self._name("router"), until=str(end))

    async def _create(self, name: str, values: dict[str, bytes]) -> None:
        """Create a Secret; no-op if another router was first."""
        metadata = {"name": self._name(name), "labels": LABELS}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": KIND}
        try:
            await self._api.create(self._where, {**body, "data": _encoded(values)})
        except ApiError as error:
            if not error.conflict:
                raise
        else:
            logger.info("made Secret {}", self._name(name))

    async def _find(self, name: str) -> Json | None:
        try:
            return await self._get(name)
        except ApiError as error:
            if not error.absent:
                raise
            return None

    async def _get(self, name: str) -> Json:
        return await self._api.get(f"{self._where}/{self._name(name)}")

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
        raise Invalid(f"no {name} in it") from None
