"""Runs blkid(8) of util-linux with --probe, to find out which formats are on a device.

It is a separate program, so that the probe of a disk that hangs can be abandoned.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from driver.core.errors import Failed
from driver.linux import command

_TIMEOUT: Final = 60.0  # seconds
_NOTHING: Final = 2
_AMBIVALENT: Final = 8
_NAMES: Final = ("TYPE", "PTTYPE", "USAGE", "LABEL", "UUID")


def probe(device: Path) -> str:
    """Return in a few words which filesystem, partition table or other format blkid recognizes on
    the device; "": it recognizes nothing.

    Several contradicting formats count as recognized. Raises: Failed, if the probe failed, or blkid
    is not installed.
    """
    words = ["blkid", "--probe", "--output", "export", str(device)]
    try:
        text = command.run(words, timeout=_TIMEOUT, ok=(0,))
    except command.CommandError as error:
        if error.status == _NOTHING and not error.stderr:
            return ""
        if error.status == _AMBIVALENT:
            return "several signatures that contradict each other"
        raise Failed(f"blkid cannot examine it: {error}") from error
    return _describe(text)


def _describe(text: str) -> str:
    """Return the result of a probe in a few words. Pure."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    values = {key: " ".join(shlex.split(value)) for key, _, value in pairs}
    if kind := values.get("TYPE"):
        name = f"{kind} ({values['USAGE']})" if values.get("USAGE") else kind
        label = values.get("LABEL")
        return f"{name} with the label {label!r}" if label else name
    if table := values.get("PTTYPE"):
        return f"a partition table ({table})"
    return "something that libblkid recognizes"
