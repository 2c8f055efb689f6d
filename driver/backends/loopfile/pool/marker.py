"""The marker file that makes a directory a pool: it contains the pool's id and its owner."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from driver.backends.loopfile.pool.creation import MARKER
from driver.core.errors import Conflict, PoolUnavailable, Refused
from driver.core.ids import PoolId, new_pool_id
from driver.linux import files

SCHEMA: Final = 1


def write(root: Path, owner: str) -> PoolId:
    """Write the marker file, which makes a directory a pool, with a new pool id, durably, and
    return the id. `owner`: the driver's name.

    Raises: FileExistsError if the directory has one; OSError.
    """
    pool_id = new_pool_id()
    text = json.dumps({"schema": SCHEMA, "id": pool_id, "owner": owner}).encode()
    beside = root / f"{MARKER}.{pool_id}"
    try:
        files.write_durably(beside, text)
        os.link(beside, root / MARKER)  # never over one that is there
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    files.sync_directory(root)
    return pool_id


def initialise(location: Path, owner: str) -> PoolId:
    """Make the directory `location` a pool of the driver `owner`, and return its id.

    Raises: Conflict if it is a pool already; Refused if its marker file cannot be written.
    """
    try:
        return write(location, owner)
    except FileExistsError:
        raise Conflict(f"{location} is a pool already") from None
    except OSError as error:
        raise Refused(f"{location} cannot become a pool: {error.strerror}") from error


def read_id(text: bytes, location: Path, owner: str) -> PoolId:
    """Return the pool id in `text`, the contents of a pool's marker file.

    `owner`: the name of this driver. Raises: PoolUnavailable if the text is damaged, has a newer
    schema, or names another driver as the owner.
    """
    try:
        fields = json.loads(text)
        schema, pool_id, marked = int(fields["schema"]), str(fields["id"]), str(fields["owner"])
    except (ValueError, KeyError, TypeError) as error:
        raise PoolUnavailable(f"the marker {location / MARKER} is damaged: {error!r}") from error
    if schema > SCHEMA:
        raise PoolUnavailable(
            f"the pool at {location} was made by a newer version: upgrade this one"
        )
    if marked != owner:
        raise PoolUnavailable(f"the pool at {location} belongs to {marked!r}, not to {owner!r}")
    return pool_id
