"""The header of a LUKS2 container: see the LUKS2 On-Disk Format Specification."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from driver.core.model import KIB

# The magics of the header and of its copy, the offsets where the copy may be, and the UUID.
_MAGIC: Final = b"LUKS\xba\xbe"
_MAGIC_OF_COPY: Final = b"SKUL\xba\xbe"
_COPIES_AT: Final = tuple(16 * KIB << shift for shift in range(9))
_UUID: Final = slice(168, 208)


def read_uuid(path: Path) -> str:
    """Return the UUID of the LUKS2 container on `path`; "" if there is no container. Raises:
    OSError.
    """
    with path.open("rb") as file:
        head = file.read(_UUID.stop)
    if not head.startswith(_MAGIC):
        return ""
    return head[_UUID].rstrip(b"\0").decode("ascii", "replace")


def is_present(path: Path) -> bool:
    """Return whether there is a LUKS2 header on `path`, or its secondary copy, from which
    cryptsetup can restore the header.

    Raises: OSError.
    """
    if read_uuid(path):
        return True
    with path.open("rb") as file:
        for offset in _COPIES_AT:
            file.seek(offset)
            if file.read(len(_MAGIC_OF_COPY)) == _MAGIC_OF_COPY:
                return True
    return False
