"""Block events of the kernel, through pyudev: a device was added, removed or changed.

They are received from the kernel and not from udevd, because a container has no udevd.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pyudev

BUFFER: Final = 1 << 20  # bytes that wait for us; a burst of 1,000 attaches is about as much


def watch(on_event: Callable[[str, str], None]) -> Callable[[], None]:
    """Call `on_event(action, device name)` in a thread for each change of a block device that the
    kernel reports. Returns a function that ends the thread.

    `on_event` must not raise, and must be quick. If the kernel had to drop events,
    `on_event("change", "")` is called: any device may have changed.

    Raises: ImportError, without libudev; OSError.
    """
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    monitor.filter_by(subsystem="block")
    with suppress(OSError):  # more than the default needs CAP_NET_ADMIN
        monitor.set_receive_buffer_size(BUFFER)
    monitor.start()  # what happens from now on is reported
    ended, end = socket.socketpair()
    thread = threading.Thread(
        target=_listen, args=(monitor, ended, on_event), name="block-events", daemon=True
    )
    thread.start()

    def stop() -> None:
        end.close()
        if thread is not threading.current_thread():
            thread.join()

    return stop


def _listen(monitor: Any, ended: socket.socket, on_event: Callable[[str, str], None]) -> None:
    """Pass events on until the other end of `ended` is closed."""
    poll = select.poll()  # select() knows no descriptor above 1023
    poll.register(monitor.fileno(), select.POLLIN)
    poll.register(ended, select.POLLIN)
    with ended:
        while ended.fileno() not in dict(poll.poll()):
            if event := _next(monitor):
                on_event(*event)


def _next(monitor: Any) -> tuple[str, str] | None:
    """Return the next event as action and device name; None: it was of another subsystem."""
    try:
        device = monitor.poll(0)
    except OSError:  # ENOBUFS: more came than the buffer holds
        _clear_error(monitor.fileno())
        return "change", ""
    return None if device is None else (device.action, device.sys_name)


def _clear_error(netlink: int) -> None:
    """Read the pending error, which clears it: pyudev never does, and would raise for ever."""
    with socket.socket(fileno=os.dup(netlink)) as copy:
        copy.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
