"""Deletes an image of a loop-file pool by one rename. `leftovers` frees its space afterwards.

Its only caller is the backend's `delete`, which refuses an image that is attached or being read.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from driver.backends.loopfile.images.layout import disk, folder
from driver.backends.loopfile.images.leftovers import DEL
from driver.core import errnos
from driver.core.failpoints import FailPoint, reach
from driver.core.model import Image


def mark_deleted(root: Path, image: Image) -> Path:
    """Delete an image by renaming its folder to a name that marks it as deleted, and return the
    folder's new path.

    The caller then syncs `root` and removes the folder. No error if the folder does not exist.
    Raises: OSError.
    """
    deleted_folder = root / f"{DEL}{image.id}-{image.incarnation}"
    with suppress(FileNotFoundError):
        try:
            folder(root, image.id).rename(deleted_folder)
        except OSError as error:
            if error.errno not in errnos.FULL:
                raise
            # A full btrfs may have no room for a rename, but for giving room back it has.
            os.truncate(disk(root, image.id), 0)
            folder(root, image.id).rename(deleted_folder)
    reach(FailPoint.DELETE_RENAMED)
    return deleted_folder
