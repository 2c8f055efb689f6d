"""An epoll selector for the event loop that first asks what is there, and waits only for nothing.

Python lets go of its lock to ask, even for what is there already, and a worker that waits for the
lock takes it: while eight volumes were under way the loop lost its turn a hundred times for each of
them. The first question cannot wait (epoll_wait(2) with timeout 0), so it keeps the lock.
"""

from __future__ import annotations

import ctypes
import platform
import select
import struct
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector, SelectorKey
from typing import Final

MOST: Final = 64  # events at once; what is left comes with the next question

# struct epoll_event: events, and a union of 8 bytes; <linux/eventpoll.h> packs it on x86-64 alone
_EVENT: Final = struct.Struct("=Ii4x" if platform.machine() == "x86_64" else "=I4xi4x")

_kept: Final = ctypes.PyDLL(None)  # calls keep the interpreter's lock


class EagerSelector(EpollSelector):
    """An epoll selector that first asks without waiting, and waits only if there is no event."""

    def __init__(self) -> None:
        super().__init__()
        self._events = (ctypes.c_char * (MOST * _EVENT.size))()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return the events as the parent does. Errors are left to the parent to find."""
        found = self._there()
        waits = timeout is None or timeout > 0
        return super().select(timeout) if waits and not found else found

    def _there(self) -> list[tuple[SelectorKey, int]]:
        count: int = _kept.epoll_wait(self.fileno(), self._events, MOST, 0)
        whole, keys = memoryview(self._events).cast("B"), self.get_map()
        return [
            (key, _meant(events) & key.events)
            for events, fd in _EVENT.iter_unpack(whole[: max(count, 0) * _EVENT.size])
            if (key := keys.get(fd))
        ]


def _meant(events: int) -> int:
    """Return the selector's events. An error or a hangup wakes both readers and writers."""
    reads = EVENT_READ if events & ~select.EPOLLOUT else 0
    return reads | (EVENT_WRITE if events & ~select.EPOLLIN else 0)
