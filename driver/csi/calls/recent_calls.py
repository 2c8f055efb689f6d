"""The last calls of this process, and a stream of new ones."""

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
# Bytes of a request or a response; a longer one is not kept. A pod may give its inline volume
# attributes of a megabyte: that is refused, and kubelet repeats the call for ever.
LARGEST: Final = 16 << 10
KEPT_BYTES: Final = 1 << 20  # of all that is kept, as it was sent; it takes some ten times that
# They read only. Their responses may have thousands of entries and are not kept.
_LISTS: Final = ("List", "ControllerList", "Describe", "Inspect", "GetMetadata")
_USUAL: Final = frozenset({"OK", "UNIMPLEMENTED"})  # of a list: a command asks what there is

Response: TypeAlias = Message | bytes  # bytes: a node's, which a router passed on


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A gRPC call that has ended. `ended`: seconds since the epoch; `code`: the name of its status;
    `error`: the status message; `seconds`: how long it took; `request`, `response`: None if they
    are not stored; `size`: the stored bytes.
    """

    number: int
    ended: float
    rpc: str
    code: str
    error: str
    seconds: float
    request: Message | None
    response: Response | None
    size: int  # bytes of both, as they were sent


class _LastCalls(deque[EndedCall]):
    """The last `most` calls, or fewer whose messages have KEPT_BYTES together."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._size = 0

    def add(self, call: EndedCall) -> None:
        self.append(call)
        self._size += call.size
        while len(self) > self._most or self._size > KEPT_BYTES:
            self._size -= self.popleft().size


class RecentCalls:
    """Stores the last calls that have ended. To be used on the event loop only.

    Messages are stored without secrets, and converted to text only when they are read. `polled`:
    the names of the RPCs that are repeated for ever even if nobody uses a volume; their calls are
    stored separately, so that they do not displace the others.
    """

    def __init__(self, polled: frozenset[str] = frozenset()) -> None:
        self._polled = polled
        self._last = 0  # the number of the last call
        self._calls = _LastCalls(KEPT)
        self._polls = _LastCalls(KEPT_POLLED)
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
        """Store a call that has ended, and wake the readers of `follow`.

        `code`: the name of its gRPC status; `error`: its status message; `seconds`: how long it
        took.
        """
        self._last, is_list = self._last + 1, rpc.startswith(_LISTS)
        request = None if _size(request) > LARGEST else request
        response = None if is_list or _size(response) > LARGEST else response
        call = EndedCall(
            self._last,
            time.time(),
            rpc,
            code,
            error,
            seconds,
            request and redact.without_marked_secrets(request),
            response,
            _size(request) + _size(response),
        )
        usual = code in _USUAL if is_list else code == "OK" and rpc in self._polled
        (self._polls if usual else self._calls).add(call)
        for listener in self._listeners:
            listener.set()

    def close(self) -> None:
        """End all iterators that `follow` has returned; otherwise they never end, and the server
        cannot stop.
        """
        self._closed = True
        for listener in self._listeners:
            listener.set()

    async def follow(self, past: int, *, polled: bool, past_only: bool) -> AsyncIterator[EndedCall]:
        """Yield at most `past` calls that have ended, and then each call when it ends, until this
        object is closed.

        A reader that is slower than the calls misses some of them. `polled`: whether to include the
        calls that an idle cluster repeats. `past_only`: end after the past calls.
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
        """Return the stored calls with numbers above `number`, in their order."""
        calls = [*self._calls, *(self._polls if polled else ())]
        later = (call for call in calls if call.number > number)
        return sorted(later, key=lambda call: call.number)


def _size(message: Response | None) -> int:
    """Return the bytes of a message as it is sent."""
    if message is None:
        return 0
    return len(message) if isinstance(message, bytes) else message.ByteSize()
