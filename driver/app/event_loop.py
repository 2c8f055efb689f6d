"""The event loop: it releases Python's global lock only to wait.

Python releases its global interpreter lock for each system call, even one that does not wait, and a
waiting worker takes the lock: while eight volumes were created, the event loop was interrupted a
hundred times for each of them. A poll with timeout 0 and a non-blocking eventfd keep the lock.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import select
import struct
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector, SelectorKey
from typing import Any, Final, Protocol, TypeAlias, TypeVarTuple

MAX_EVENTS: Final = 64  # at once; the others come with the next poll

# struct epoll_event: events, and a union of 8 bytes; <linux/eventpoll.h> packs it on x86-64 alone
_EVENT: Final = struct.Struct("=Ii4x" if platform.machine() == "x86_64" else "=I4xi4x")

_unlocked: Final = ctypes.PyDLL(None)  # keeps the interpreter's lock
_epoll_wait: Final = _unlocked.epoll_wait


class HasFileno(Protocol):
    """An object with a file descriptor."""

    def fileno(self) -> int:
        """Return the file descriptor."""


File: TypeAlias = int | HasFileno
Ts = TypeVarTuple("Ts")


class EventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop which its own thread and other threads can wake without releasing
    Python's global interpreter lock.
    """

    def __init__(self) -> None:
        super().__init__(EagerSelector())
        self._calls = deque[asyncio.Handle]()  # of other threads
        self._wakeups = _Wakeups()
        self.add_reader(self._wakeups.fd, self._run_calls)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Let the event loop call `callback(*args)` soon in its own thread, and return the handle
        that cancels that. Any thread may call this method.

        Raises: RuntimeError, if the loop is closed.
        """
        if self.is_closed():
            raise RuntimeError("the event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._calls.append(handle)
        self._wakeups.add()
        return handle

    def _run_calls(self) -> None:
        """Call what other threads have asked for until now; what is left wakes the loop again."""
        self._wakeups.clear()
        try:
            for _ in range(len(self._calls)):
                handle = self._calls.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 - as the parent does; it reports exceptions
        finally:
            if self._calls:
                self._wakeups.add()


class _Wakeups:
    """An eventfd, which is readable from `add` to `clear`.

    It is closed when nobody refers to it any more, so that no thread ever writes to another file
    that has its number by then.
    """

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._count = ctypes.c_uint64()

    def __del__(self) -> None:
        os.close(self.fd)

    def add(self) -> None:
        _unlocked.eventfd_write(self.fd, ctypes.c_uint64(1))

    def clear(self) -> None:
        _unlocked.eventfd_read(self.fd, ctypes.byref(self._count))


class EagerSelector(EpollSelector):
    """An epoll selector that first polls without waiting, and waits only if no file is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._events = (ctypes.c_char * (MAX_EVENTS * _EVENT.size))()
        self._bytes = memoryview(self._events).cast("B")
        self._epoll = self.fileno()
        self._keys: dict[int, SelectorKey] = {}  # by descriptor; the parent's map is slow to ask

    def register(self, fileobj: File, events: int, data: Any = None) -> SelectorKey:
        """Register a file for `events`, as EpollSelector does, and return the file's new
        SelectorKey.
        """
        key = super().register(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: File) -> SelectorKey:
        """Unregister a file, as EpollSelector does, and return the file's former SelectorKey."""
        key = super().unregister(fileobj)
        self._keys.pop(key.fd, None)
        return key

    def modify(self, fileobj: File, events: int, data: Any = None) -> SelectorKey:
        """Change the events or the data of a file, as EpollSelector does, and return its new
        SelectorKey.
        """
        key = super().modify(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Return the files that are ready, each with its events. They are polled once without
        releasing the interpreter's lock; if none is ready, or the poll fails, wait for them as
        EpollSelector does, for at most `timeout` seconds.
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
