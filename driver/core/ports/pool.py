"""A configured pool: its backend, with the ports to the host and the encryption for its devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from driver.core.answers import Answers, Direct
from driver.core.ports.backend import Backend
from driver.core.ports.crypt import Crypt
from driver.core.ports.host import Host
from driver.core.ports.io_limits import IoLimits, NoIoLimits


@dataclass(frozen=True, slots=True)
class Pool:
    """A configured pool: a backend for its images, and the host that mounts their devices.

    `crypt`: opens encrypted volumes; None: the pool has none. `io_limits`: enforces IO limits
    on the pool's machine; `answers`: calls the backend in separate threads.
    """

    name: str
    backend: Backend
    host: Host
    crypt: Crypt | None = None  # None: its volumes cannot be encrypted
    type: str = ""
    location: str = ""
    io_limits: IoLimits = field(default_factory=NoIoLimits)
    answers: Answers = field(default_factory=Direct)
