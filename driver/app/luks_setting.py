"""Parses `--luks`: the key derivation of encrypted volumes. All errors are ValueErrors."""

from __future__ import annotations

import re
from typing import Final

from driver.core.errors import Invalid
from driver.core.model import GIB, KIB, Bytes
from driver.core.quantity import parse_bytes
from driver.linux.formats.luks import Options

_KEYS: Final = frozenset({"pbkdf", "memory", "iterations"})
_FEWEST: Final = {"argon2id": 4, "pbkdf2": 1000}  # iterations; cryptsetup takes no less
_MEMORY: Final = (32 * KIB, 4 * GIB)  # what cryptsetup takes


def read_luks(value: object) -> Options:
    """Parse `pbkdf=argon2id,memory=64MiB,iterations=4`, or a mapping with these keys, and return
    how keys of LUKS containers are derived.

    Raises: ValueError: it has another form.
    """
    if isinstance(value, Options):
        return value
    pairs = value if isinstance(value, dict) else dict(map(_pair, str(value).split(",")))
    if unknown := sorted(pairs.keys() - _KEYS):
        raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(sorted(_KEYS))}")
    pbkdf = str(pairs.get("pbkdf", "argon2id"))
    if pbkdf not in _FEWEST:
        raise ValueError(f"pbkdf is argon2id or pbkdf2, not {pbkdf!r}")
    iterations = _iterations(pbkdf, str(pairs.get("iterations", "0")))
    memory = _memory(str(pairs.get("memory", "64MiB")))
    return Options(pbkdf=pbkdf, memory=memory, iterations=iterations)


def _iterations(pbkdf: str, text: str) -> int:
    """Return the number of iterations; 0 means the default. Raises: ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or 0 < int(text) < _FEWEST[pbkdf]:
        raise ValueError(f"iterations of {pbkdf} are a number of at least {_FEWEST[pbkdf]}")
    return int(text)


def _memory(text: str) -> Bytes:
    try:
        memory = parse_bytes(text)
    except Invalid as error:
        raise ValueError(f"memory: {error}") from None
    if not _MEMORY[0] <= memory <= _MEMORY[1]:
        raise ValueError("memory is between 32KiB and 4GiB, what cryptsetup takes")
    return memory


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not key=value")
    return key, value
