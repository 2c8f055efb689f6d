"""Events of this node for Kubernetes, stored until a router has fetched them.

Their number and rate are limited: a volume whose health changes constantly, or a failed pool with
ten thousand volumes, must not fill the cluster's database.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from loguru import logger

from driver.core.model import Image

KEEP: Final = 600.0  # seconds for which an event is kept for routers that connect
MOST: Final = 200  # events that are kept
BURST: Final = 10  # events of one object that may come at once,
REFILL: Final = 300.0  # seconds until there may be one more; both as those of Kubernetes' clients
NODE_REFILL: Final = 1.0  # seconds, of all objects together after MOST events at once
_MOST_BUCKETS: Final = 10_000
_TEXT: Final = 900  # characters; Kubernetes accepts 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """An event of this node, to be shown as an Event of Kubernetes. `number`: counts up from the
    start of the process; `reason`: one CamelCase word; `text`: for people; `image`: the image
    that it concerns; None: the node itself; `at`: seconds since the epoch.
    """

    number: int
    at: float
    reason: str
    text: str
    warning: bool
    image: Image | None


@dataclass(slots=True)
class _Bucket:
    """A bucket of tokens: `left` of them at the time `at`."""

    left: float
    at: float

    def take(self, now: float, burst: float, refill: float) -> bool:
        """Take a token if there is one. A clock that was set back costs none."""
        self.left = min(burst, self.left + max(0.0, now - self.at) / refill)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class NodeEvents:
    """Keeps the recent events of this node until they are shown as Events of Kubernetes.
    Thread-safe. `clock`: returns seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._events: deque[NodeEvent] = deque(maxlen=MOST)
        self._all = _Bucket(MOST, clock())
        self._buckets: dict[str, _Bucket] = {}

    def record(
        self, reason: str, text: str, *, warning: bool = False, image: Image | None = None
    ) -> None:
        """Record an event of this node. If there were too many recently, the event is dropped and
        only logged.

        `reason`: one CamelCase word; `text`: for people; `image`: the image that the event
        concerns; None: it concerns the node.
        """
        with self._lock:
            now = self._clock()
            if not self._may_record(str(image.id) if image else "", now):
                logger.debug("an event was dropped, there are too many: {} {}", reason, text)
                return
            self._events.append(
                NodeEvent(
                    number=next(self._numbers),
                    at=now,
                    reason=reason,
                    text=text if len(text) <= _TEXT else f"{text[:_TEXT]}...",
                    warning=warning,
                    image=image,
                )
            )

    def after(self, number: int) -> Sequence[NodeEvent]:
        """Return the events with a number above `number` that happened in the last 10 minutes."""
        with self._lock:
            oldest = self._clock() - KEEP
            return [event for event in self._events if event.number > number and event.at >= oldest]

    def _may_record(self, key: str, now: float) -> bool:
        """Return whether one more event of the object may be recorded, and count it."""
        if len(self._buckets) >= _MOST_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets.setdefault(key, _Bucket(BURST, now))
        return bucket.take(now, BURST, REFILL) and self._all.take(now, MOST, NODE_REFILL)
