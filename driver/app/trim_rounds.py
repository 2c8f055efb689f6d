"""Decides when volumes are trimmed: one after another, in a small share of the time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from loguru import logger

from driver.core.errors import Busy, CellarError, Overloaded
from driver.core.ids import VolumeId
from driver.core.model import GIB, MIB, Bytes
from driver.core.ports.pool import Pool
from driver.core.quantity import show_bytes
from driver.volumes.space.trimming import SliceDone, Trimmer, TrimSlice

_FIRST: Final = 256 * MIB  # of a volume: how long it takes is not known yet
_SIZES: Final = (32 * MIB, 4 * GIB)  # the smallest and the largest slice
_AIM: Final = 0.05  # seconds that a slice should take, for calls wait for it
_RESTS: Final = 19  # times what a slice took: a twentieth of the time, then
_PAUSE: Final = 0.05  # seconds, at least
_ATTEMPTS: Final = 3
_BUSY: Final = 5.0  # seconds until a volume that is busy is tried again


class TrimRounds:
    """Trims (discards the free space of) all volumes every `interval` seconds, each pool
    independently.

    `run(work, request)`: calls `work(request)` in a worker thread, with the request's locks.
    `discarded`: the bytes discarded so far, by the pool's name.
    """

    def __init__(
        self,
        run: Callable[[Callable[[Any], Any], Any], Awaitable[Any]],
        trimmer: Trimmer,
        interval: float,
    ) -> None:
        self.discarded = Counter[str]()
        self._run = run
        self._trimmer = trimmer
        self._interval = interval

    async def repeat(self, pool: Pool) -> None:
        """Trim all volumes of the pool once in each interval, until cancelled.

        The first interval begins at a random moment, so that the nodes of a cluster do not trim at
        the same time.
        """
        await asyncio.sleep(random.uniform(0, self._interval))  # noqa: S311 - no secret
        while True:
            began = time.monotonic()
            await self.round(pool)
            await asyncio.sleep(max(0.0, began + self._interval - time.monotonic()))

    async def round(self, pool: Pool) -> None:
        """Trim each volume of the pool once. Volumes that are busy or cannot be trimmed are
        skipped.
        """
        for volume_id in self._trimmer.candidates(pool):
            try:
                discarded = await self._trim(volume_id)
            except (CellarError, OSError) as error:
                logger.debug("{} was not trimmed: {}", volume_id, error)
                continue
            self.discarded[pool.name] += discarded
            if discarded:
                text = "trimmed {}: {} were discarded in pool {}"
                logger.info(text, volume_id, show_bytes(discarded), pool.name)

    async def _trim(self, volume_id: VolumeId) -> Bytes:
        """Trim a volume slice by slice, and return the bytes that were discarded.

        Raises: CellarError; OSError.
        """
        start, length, discarded = 0, _FIRST, 0
        while True:
            began = time.monotonic()
            done = await self._slice(TrimSlice(volume_id, start, length))
            took = time.monotonic() - began
            start, discarded = start + length, discarded + done.discarded
            if done.last:
                return discarded
            length = next_length(length, took)
            await asyncio.sleep(max(_PAUSE, _RESTS * took))

    async def _slice(self, request: TrimSlice) -> SliceDone:
        """Trim a slice, at the third attempt at last. Raises: Busy, Overloaded, CellarError;
        OSError.
        """
        for _ in range(_ATTEMPTS - 1):
            with suppress(Busy, Overloaded):
                done: SliceDone = await self._run(self._trimmer.trim, request)
                return done
            await asyncio.sleep(_BUSY)
        last: SliceDone = await self._run(self._trimmer.trim, request)
        return last


def next_length(length: Bytes, took: float) -> Bytes:
    """Return how many bytes of a filesystem to trim next, after `length` bytes took `took` seconds:
    half as many if that took too long, twice as many if it was quick.
    """
    smallest, largest = _SIZES
    if took > _AIM:
        return max(length // 2, smallest)
    return min(length * 2, largest) if took < _AIM / 4 else length
