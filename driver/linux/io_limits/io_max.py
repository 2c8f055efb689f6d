"""The file io.max of a control group: one line for each limited device.

For example `8:16 rbps=2097152 wbps=max riops=max wiops=120`; a device without limits has no line.
See the kernel's Documentation/admin-guide/cgroup-v2.rst. All functions raise OSError: ENODEV if the
group does not exist any more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from driver.core.model import Limits

_KEYS: Final = {
    "rbps": "read_bps",
    "wbps": "write_bps",
    "riops": "read_iops",
    "wiops": "write_iops",
}
_CHUNK: Final = 1 << 18  # bytes; of some thousand lines


class IoMax:
    """The open file io.max of one control group, in which the kernel keeps the group's IO limits.
    Another control group that is created later with the same name has another io.max.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.inode = os.fstat(self._fd).st_ino

    def close(self) -> None:
        """Close the file io.max."""
        os.close(self._fd)

    def read(self) -> str:
        """Return the text of the file io.max: one line for each device with limits."""
        chunks = [os.pread(self._fd, _CHUNK, 0)]
        while len(chunks[-1]) == _CHUNK:
            chunks.append(os.pread(self._fd, _CHUNK, sum(map(len, chunks))))
        return b"".join(chunks).decode("ascii")

    def write(self, number: int, limits: Limits) -> None:
        """Set the limits of the device `number` (dev_t) in the file io.max, in place of earlier
        ones; no limits in `limits`: remove the device's line.
        """
        os.pwrite(self._fd, format_line(number, limits).encode("ascii"), 0)


def limits_in(text: str, number: int) -> Limits:
    """Return the limits of the device `number` (dev_t) in `text`, the contents of io.max. No file
    is read.
    """
    start = f"\n{_device(number)} "
    _, separator, rest = f"\n{text}".partition(start)
    return _parse_limits(rest.partition("\n")[0]) if separator else Limits()


def parse(text: str) -> Mapping[int, Limits]:
    """Return the limits of all devices in `text`, the contents of io.max, by device number (dev_t).
    No file is read.
    """
    lines = (line.partition(" ") for line in text.splitlines())
    return {_number(device): _parse_limits(rest) for device, _, rest in lines}


def format_line(number: int, limits: Limits) -> str:
    """Return the line to be written to io.max to set all limits of the device `number` (dev_t)."""
    values = {key: getattr(limits, name) for key, name in _KEYS.items()}
    words = (f"{key}={value or 'max'}" for key, value in values.items())
    return f"{_device(number)} {' '.join(words)}"


def _parse_limits(words: str) -> Limits:
    values = dict(word.split("=", 1) for word in words.split())
    return Limits(**{name: _parse_value(values.get(key, "max")) for key, name in _KEYS.items()})


def _parse_value(text: str) -> int:
    return 0 if text == "max" else int(text)


def _device(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


def _number(device: str) -> int:
    major, minor = device.split(":")
    return os.makedev(int(major), int(minor))
