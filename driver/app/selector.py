"""An epoll selector for the event loop that polls first, and waits only if there is no event.

Python releases its global lock around epoll_wait(2), even if an event is there already, and a
worker that waits for the lock takes it: while eight volumes were created the loop lost its turn a
hundred times for each of them. A poll with timeout 0 cannot wait, so it keeps the lock.
"""

from __future__ import annotations

import ctypes
import platform
import select
import struct
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector, SelectorKey
from typing import Final

MAX_EVENTS: Final = 64  # at once; the others come with the next poll

# struct epoll_event: events, and a union of 8 bytes; <linux/eventpoll.h> packs it on x86-64 alone
_EVENT: Final = struct.Struct("=Ii4x" if platform.machine() == "x86_64" else "=I4xi4x")

_libc: Final = ctypes.PyDLL(None)  # its calls keep the interpreter's lock


class EagerSelector(EpollSelector):
    """An epoll selector that first polls, and waits only if there is no event."""

    def __init__(self) -> None:
        super().__init__()
        self._events = (ctypes.c_char * (MAX_EVENTS * _EVENT.size))()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return the events as the parent does. Errors are left to the parent to find."""
        events = self._poll()
        waits = timeout is None or timeout > 0
        return super().select(timeout) if waits and not events else events

    def _poll(self) -> list[tuple[SelectorKey, int]]:
        count: int = _libc.epoll_wait(self.fileno(), self._events, MAX_EVENTS, 0)
        whole, keys = memoryview(self._events).cast("B"), self.get_map()
        return [
            (key, _selector_events(events) & key.events)
            for events, fd in _EVENT.iter_unpack(whole[: max(count, 0) * _EVENT.size])
            if (key := keys.get(fd))
        ]


def _selector_events(events: int) -> int:
    """Return the selector's events. An error or a hangup wakes both readers and writers."""
    reads = EVENT_READ if events & ~select.EPOLLOUT else 0
    return reads | (EVENT_WRITE if events & ~select.EPOLLIN else 0)
