"""An epoll selector for the event loop that polls first, and waits only if there is no event.

Python releases its global interpreter lock for epoll_wait(2), even if an event is there already,
and a waiting worker takes the lock: while eight volumes were created, the event loop was
interrupted a hundred times for each of them. A poll with timeout 0 keeps the lock.
"""

from __future__ import annotations

import ctypes
import platform
import select
import struct
from collections.abc import Iterable
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector, SelectorKey
from typing import Any, Final, Protocol, TypeAlias

MAX_EVENTS: Final = 64  # at once; the others come with the next poll

# struct epoll_event: events, and a union of 8 bytes; <linux/eventpoll.h> packs it on x86-64 alone
_EVENT: Final = struct.Struct("=Ii4x" if platform.machine() == "x86_64" else "=I4xi4x")

_epoll_wait: Final = ctypes.PyDLL(None).epoll_wait  # keeps the interpreter's lock


class HasFileno(Protocol):
    """An object with a file descriptor."""

    def fileno(self) -> int:
        """Return the file descriptor."""


File: TypeAlias = int | HasFileno


class EagerSelector(EpollSelector):
    """An epoll selector that first polls, and waits only if there is no event."""

    def __init__(self) -> None:
        super().__init__()
        self._events = (ctypes.c_char * (MAX_EVENTS * _EVENT.size))()
        self._bytes = memoryview(self._events).cast("B")
        self._epoll = self.fileno()
        self._keys: dict[int, SelectorKey] = {}  # by descriptor; the parent's map is slow to ask

    def register(self, fileobj: File, events: int, data: Any = None) -> SelectorKey:
        """Register a file as the parent class does."""
        key = super().register(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: File) -> SelectorKey:
        """Unregister a file as the parent class does."""
        key = super().unregister(fileobj)
        self._keys.pop(key.fd, None)
        return key

    def modify(self, fileobj: File, events: int, data: Any = None) -> SelectorKey:
        """Change the events or the data of a file as the parent class does."""
        key = super().modify(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return the events as the parent class does. Errors of a poll are ignored; the parent
        class reports them.
        """
        count: int = _epoll_wait(self._epoll, self._events, MAX_EVENTS, 0)
        if count > 0:
            events = _EVENT.iter_unpack(self._bytes[: count * _EVENT.size])
            if ready := self._ready(events):
                return ready
        return super().select(timeout) if timeout is None or timeout > 0 else []

    def _ready(self, events: Iterable[tuple[int, int]]) -> list[tuple[SelectorKey, int]]:
        """Return the keys of the files that events are of, each with the selector's events."""
        return [
            (key, _selector_events(mask) & key.events)
            for mask, fd in events
            if (key := self._keys.get(fd))
        ]


def _selector_events(events: int) -> int:
    """Return the selector's events. An error or a hangup wakes both readers and writers."""
    reads = EVENT_READ if events & ~select.EPOLLOUT else 0
    return reads | (EVENT_WRITE if events & ~select.EPOLLIN else 0)
