"""The file io.max of a control group: one line for each limited device.

`8:16 rbps=2097152 wbps=max riops=max wiops=120`; a line that would limit nothing is not shown. See
the kernel's Documentation/admin-guide/cgroup-v2.rst. Everything raises OSError: ENODEV if the
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
    """An open io.max. It stays that of the same group, also if another one is made in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.inode = os.fstat(self._fd).st_ino

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def read(self) -> str:
        """Return all lines."""
        chunks = [os.pread(self._fd, _CHUNK, 0)]
        while len(chunks[-1]) == _CHUNK:
            chunks.append(os.pread(self._fd, _CHUNK, sum(map(len, chunks))))
        return b"".join(chunks).decode("ascii")

    def write(self, number: int, limits: Limits) -> None:
        """Replace the line of the device `number` (dev_t), or remove it if `limits` has none."""
        os.pwrite(self._fd, format_line(number, limits).encode("ascii"), 0)


def limits_in(text: str, number: int) -> Limits:
    """Return the limits of the device `number` (dev_t) in the text of io.max. Pure."""
    start = f"\n{_device(number)} "
    _, separator, rest = f"\n{text}".partition(start)
    return _parse_limits(rest.partition("\n")[0]) if separator else Limits()


def parse(text: str) -> Mapping[int, Limits]:
    """Return the limits of all devices, by dev_t. Pure."""
    lines = (line.partition(" ") for line in text.splitlines())
    return {_number(device): _parse_limits(rest) for device, _, rest in lines}


def format_line(number: int, limits: Limits) -> str:
    """Return the whole line that sets all limits of the device. Pure."""
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
