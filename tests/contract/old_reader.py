"""What the code of an older commit says of a pool; `test_formats` runs this with that code.

usage: PYTHONPATH=CODE python -P old_reader.py loopfile DIRECTORY | lvm FILE | records FILE
Writes JSON: the images of a directory, or those that a file of LVM tags or of records describes.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

OWNER = "cellar.csi.internal"
OFFSET = 3 * 4096  # where each image has bytes
LENGTH = 64


def loopfile(directory: str) -> list[dict[str, Any]]:
    backend = import_module("driver.backends.loopfile")
    freezer = import_module("driver.linux.freeze").Freezer()
    options = backend.Options(overcommit=4.0)
    pool = backend.open_pool("fast", Path(directory), options, freezer, OWNER)
    images = []
    for image in pool.images():
        with pool.reading(image.id) as path, path.open("rb") as file:
            file.seek(OFFSET)
            images.append(describe(image) | {"bytes": file.read(LENGTH).decode()})
    pool.close()
    freezer.close()
    return images


def lvm(file: str) -> list[dict[str, Any]]:
    tags = import_module("driver.backends.lvmtags")
    images = []
    for volume in json.loads(Path(file).read_text()):
        image, charge = tags.decode(volume["name"], volume["size"], volume["tags"])
        images.append(describe(image) | {"charge": charge})
    return images


def records(file: str) -> list[dict[str, Any]]:
    record = import_module("driver.backends.record")
    return [describe(record.decode(flat)) for flat in json.loads(Path(file).read_text())]


def describe(image: Any) -> dict[str, Any]:
    """The image as JSON: its record, and to which node it is published."""
    record = import_module("driver.backends.record").encode(image)
    published = getattr(image, "published", None)
    to = [published.node, published.read_only, published.mode.value] if published else None
    return {"record": record, "published": to}


if __name__ == "__main__":
    readers = {"loopfile": loopfile, "lvm": lvm, "records": records}
    sys.stdout.write(json.dumps(readers[sys.argv[1]](sys.argv[2])))
