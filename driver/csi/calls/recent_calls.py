"""The last calls of this process, for whoever follows them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.message import Message

from driver.csi import redact

KEPT: Final = 200  # calls
KEPT_POLLED: Final = 50
# They read only. Their responses may have thousands of entries and are not kept.
_LISTS: Final = ("List", "ControllerList", "Describe", "Inspect", "GetMetadata")
_USUAL: Final = frozenset({"OK", "UNIMPLEMENTED"})  # of a list: a command asks what there is

Response: TypeAlias = Message | bytes  # bytes: a node's, which a router passed on


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that ended. `ended`: seconds since the epoch; messages that are not kept are None."""

    number: int
    ended: float
    rpc: str
    code: str
    error: str
    seconds: float
    request: Message | None
    response: Response | None


class RecentCalls:
    """The last calls that ended. Lives on the event loop.

    Messages are kept as they are, except for secrets, and translated only for a reader.
    `polled`: calls that an idle cluster repeats for ever; they and lists are kept apart from the
    others.
    """

    def __init__(self, polled: frozenset[str] = frozenset()) -> None:
        self._polled = polled
        self._last = 0  # the number of the last call
        self._calls: deque[EndedCall] = deque(maxlen=KEPT)
        self._polls: deque[EndedCall] = deque(maxlen=KEPT_POLLED)
        self._listeners: set[asyncio.Event] = set()
        self._closed = False

    def add(  # noqa: PLR0913 - the facts of a call
        self,
        rpc: str,
        code: str,
        *,
        error: str,
        seconds: float,
        request: Message | None,
        response: Response | None,
    ) -> None:
        """Keep a call that ended, and wake those who follow."""
        self._last, is_list = self._last + 1, rpc.startswith(_LISTS)
        call = EndedCall(
            self._last,
            time.time(),
            rpc,
            code,
            error,
            seconds,
            request and redact.without_marked_secrets(request),
            None if is_list else response,
        )
        usual = code in _USUAL if is_list else code == "OK" and rpc in self._polled
        (self._polls if usual else self._calls).append(call)
        for listener in self._listeners:
            listener.set()

    def close(self) -> None:
        """End all `follow`, which have no other end, so that the server can stop."""
        self._closed = True
        for listener in self._listeners:
            listener.set()

    async def follow(self, past: int, *, polled: bool, past_only: bool) -> AsyncIterator[EndedCall]:
        """Yield at most `past` calls that have ended, then each that ends, until `close`.

        A reader who is slower than the calls come misses some.
        """
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            calls, last = self._after(0, polled=polled), self._last
            calls = calls[-past:] if past else []
            while True:
                for call in calls:
                    yield call
                if self._closed or past_only:
                    return
                await changed.wait()
                changed.clear()
                calls, last = self._after(last, polled=polled), self._last
        finally:
            self._listeners.discard(changed)

    def _after(self, number: int, *, polled: bool) -> list[EndedCall]:
        """Return the kept calls with a higher number, in their order."""
        calls = [*self._calls, *(self._polls if polled else ())]
        later = (call for call in calls if call.number > number)
        return sorted(later, key=lambda call: call.number)
