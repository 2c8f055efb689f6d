"""A configured pool: its backend, with the host and the encryption that serve its devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from driver.core.answers import Answers, Direct
from driver.core.ports.backend import Backend
from driver.core.ports.crypt import Crypt
from driver.core.ports.host import Host


@dataclass(frozen=True, slots=True)
class Pool:
    """A configured pool: a backend for its images, and the host that attaches and mounts them."""

    name: str
    backend: Backend
    host: Host
    crypt: Crypt | None = None  # None: its volumes cannot be encrypted
    type: str = ""
    location: str = ""
    answers: Answers = field(default_factory=Direct)
