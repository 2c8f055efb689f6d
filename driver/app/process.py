"""The parts that `serve` and `route` share: the event loop, signals, and the health pages."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

from driver.app.event_loop import EventLoop
from driver.observe.http import Answer

_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_STDERR: Final = 2
GRACE: Final = 17.0  # seconds for running calls after SIGTERM
PROBE: Final = 3.0  # seconds for /healthz
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"

Page = Callable[[], Awaitable[Answer]]
Ended = TypeVar("Ended")


def run(life: Coroutine[Any, Any, Ended]) -> Ended:
    """Run the coroutine `life` on an event loop of its own until it ends, and return its result."""
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(life)


class Signals:
    """Handles the signals of this process. It must be made in the main thread.

    The signals that stop the process are remembered until there is an event loop. SIGUSR1 writes to
    stderr where each thread is, also if the event loop or a disk hangs; SIGUSR2 is ignored.
    """

    def __init__(self) -> None:
        self._received = False
        # A signal that the parent ignores, as nohup does, is ignored here too.
        self._stopping = [
            number for number in _STOP if signal.getsignal(number) is not signal.SIG_IGN
        ]
        for number in self._stopping:
            signal.signal(number, self._receive)
        faulthandler.register(signal.SIGUSR1, file=_STDERR)
        signal.signal(signal.SIGUSR2, lambda *_: None)  # not SIG_IGN, which children inherit
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # cli/main.py has blocked them

    def stop_event(self) -> asyncio.Event:
        """Return an event that is set by each signal that stops the process.

        It must be called on the event loop.
        """
        stop = asyncio.Event()
        for number in self._stopping:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        if self._received:
            stop.set()
        return stop

    def _receive(self, *_: object) -> None:
        self._received = True


def health_pages(
    endpoint: Path, problem: Callable[[], str | None], remarks: Callable[[], Sequence[str]] = tuple
) -> Mapping[str, Page]:
    """Return the pages /healthz (fails if the driver does not answer Probe) and /readyz (fails if
    the driver is not ready, or has a problem). `endpoint`: the driver's socket.

    `problem`: returns a problem that Probe does not report; None: there is none. `remarks`: returns
    lines for people about features that do not work.
    """

    async def healthz() -> Answer:
        if await _probe(endpoint) is None:
            return _unavailable("the driver does not answer Probe")
        return Answer(HTTPStatus.OK, b"ok\n")

    async def readyz() -> Answer:
        if not await _probe(endpoint):
            return _unavailable(problem() or "the driver's Probe does not say that it is ready")
        if text := problem():
            return _unavailable(text)
        return Answer(HTTPStatus.OK, "".join(f"{line}\n" for line in ("ok", *remarks())).encode())

    return {"/healthz": healthz, "/readyz": readyz}


async def _probe(endpoint: Path) -> bool | None:
    from driver.services.server import probe  # noqa: PLC0415 - gRPC comes after the pools

    return await probe(endpoint, PROBE)


def _unavailable(text: str) -> Answer:
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{text}\n".encode())
