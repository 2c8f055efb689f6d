"""The IO counters of a block device since it was attached, from its `stat` file in sysfs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driver.core.model import Bytes

_DEVICES: Final = Path("/sys/dev/block")
_SECTOR: Final = 512  # Documentation/block/stat.rst: whatever the device's own blocks are
_FIELDS: Final = 11  # that kernels since 2.6 have


@dataclass(frozen=True, slots=True)
class IoCounters:
    """Counters of the IO requests to a device since it exists: the number, bytes and total duration
    in seconds of completed reads and writes.

    `in_flight`: requests that have not completed; `busy`: seconds in which there was at least one.
    """

    reads: int
    read_bytes: Bytes
    read_seconds: float
    writes: int
    written_bytes: Bytes
    write_seconds: float
    in_flight: int
    busy: float


def io_counters(device: int, devices: Path = _DEVICES) -> IoCounters | None:
    """Return the IO counters of the device with the number (dev_t) `device`; None: there is no such
    device.

    Only kernel memory is read, so a hanging device does not block it.
    """
    try:
        fd = os.open(f"{devices}/{os.major(device)}:{os.minor(device)}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        return parse(os.read(fd, 512))
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)


def parse(text: bytes) -> IoCounters:
    """Return the counters in `text`, the contents of /sys/block/NAME/stat
    (Documentation/block/stat.rst).

    Raises: ValueError if the text has another form.
    """
    fields = [int(field) for field in text.split()]
    if len(fields) < _FIELDS:
        raise ValueError(f"{len(fields)} fields")
    return IoCounters(
        reads=fields[0],
        read_bytes=fields[2] * _SECTOR,
        read_seconds=fields[3] / 1000,
        writes=fields[4],
        written_bytes=fields[6] * _SECTOR,
        write_seconds=fields[7] / 1000,
        in_flight=fields[8],
        busy=fields[9] / 1000,
    )
