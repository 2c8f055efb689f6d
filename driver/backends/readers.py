"""Counts which images are being read, so that none of them is deleted while it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from driver.core.ids import ImageId


class Readers:
    """Counts how many calls read each image now, so that no image is deleted while it is read.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._count: Counter[ImageId] = Counter()
        self._lock = Lock()

    def __contains__(self, image_id: ImageId) -> bool:
        return image_id in self._count

    @contextmanager
    def counted(self, image_id: ImageId) -> Iterator[None]:
        """Count one more reader of the image for the duration of the `with` block."""
        with self._lock:
            self._count[image_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._count[image_id] -= 1
                self._count += Counter()  # drops what has come to zero
