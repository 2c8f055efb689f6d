"""Pools of an older version open in this one, and pools of this one in the older.

`formats.tar.xz` was made by commit 6503ebf: a pool of loop files, tags of logical volumes, and the
code that reads both, without its docstrings and without what makes filesystems.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.backends import record
from driver.backends.loopfile import backend as loopfile
from driver.backends.loopfile.options import Options
from driver.backends.lvm import tags
from driver.core.model import Image, ObjectNames, Snapshot, Volume
from driver.linux.mounts.freeze import Freezer
from tests.contract import old_reader
from tests.contract.old_reader import describe

HERE = Path(__file__).parent
PAGE = 4096
OPTIONS = Options(overcommit=4.0)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What the older version wrote. Images are files with holes, as they were."""
    with tarfile.open(HERE / "formats.tar.xz") as archive:
        for member in archive:
            path = tmp_path / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = archive.extractfile(member)
            assert file
            write_sparsely(path, file.read())
    return tmp_path


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    with closing(Freezer()) as create_volume:
        yield create_volume


def write_sparsely(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(len(data))
        for at in range(0, len(data), PAGE):
            if any(page := data[at : at + PAGE]):
                os.pwrite(file.fileno(), page, at)


def ask_old(old: Path, kind: str, path: Path) -> list[dict[str, Any]]:
    """What the older version says of a pool or of tags."""
    command = [sys.executable, "-P", str(HERE / "old_reader.py"), kind, str(path)]
    environment = os.environ | {"PYTHONPATH": str(old / "code")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    images: list[dict[str, Any]] = json.loads(done.stdout)
    return images


def images(directory: Path, freezer: Freezer) -> list[dict[str, Any]]:
    with closing(loopfile.open_pool("fast", directory, OPTIONS, freezer, old_reader.OWNER)) as pool:
        assert pool.state().unavailable is None
        assert pool.damaged() == []
        images = []
        for image in pool.images():
            with pool.reading(image.id) as path, path.open("rb") as file:
                file.seek(old_reader.OFFSET)
                images.append(describe(image) | {"bytes": file.read(old_reader.LENGTH).decode()})
        return images


@pytest.mark.root
def test_a_pool_of_the_older_version_opens_with_all_that_is_in_it(
    old: Path, freezer: Freezer
) -> None:
    ours = images(old / "pool", freezer)
    records = [json.loads(path.read_text()) for path in (old / "pool").glob("*/volume.json")]
    by_id = {image["record"]["id"]: image for image in ours}
    assert {flat["id"]: flat for flat in records} == {
        key: image["record"] for key, image in by_id.items()
    }
    assert len(ours) == 13
    for image in ours:
        name = image["record"]["name"]
        copied = image["record"].get("source") or image["record"].get("group")
        assert copied or image["bytes"].startswith(f"bytes of {name}"[:60])
    [published] = [image for image in ours if image["published"]]
    assert published["published"] == ["node-1.example", True, "SINGLE_NODE_SINGLE_WRITER"]


@pytest.mark.root
def test_a_pool_that_this_version_wrote_opens_in_the_older_one(
    old: Path, freezer: Freezer, tmp_path: Path
) -> None:
    create_volume = tmp_path / "create_volume"
    create_volume.mkdir()
    options = replace(OPTIONS, init=True)
    with (
        closing(
            loopfile.open_pool("fast", old / "pool", OPTIONS, freezer, old_reader.OWNER)
        ) as source,
        closing(
            loopfile.open_pool("fast", create_volume, options, freezer, old_reader.OWNER)
        ) as pool,
    ):
        for image in sorted(source.images(), key=depth):
            copy = moved(image, pool.id)

            def prepare(path: Path, name: str = image.name) -> None:
                with path.open("r+b") as file:
                    os.pwrite(file.fileno(), f"bytes of {name}".encode(), old_reader.OFFSET)

            pool.create(copy, prepare)
            if isinstance(copy, Volume) and copy.published:
                pool.record(copy)
    theirs = ask_old(old, "loopfile", create_volume)
    assert len(theirs) == 13
    assert sorted(theirs, key=str) == sorted(images(create_volume, freezer), key=str)


def depth(image: Image) -> int:
    """How far it is from an image without a source."""
    return 1 if isinstance(image, Snapshot) else 2 * (image.source is not None)


def moved(image: Image, pool: str) -> Image:
    """The same image in another pool; all that it refers to is there."""
    text = json.dumps(record.encode(image)).replace(image.id.pool, pool)
    copy = record.decode(json.loads(text))
    if isinstance(image, Volume) and isinstance(copy, Volume):
        return replace(copy, published=image.published)
    return copy


def test_tags_are_those_that_the_older_version_wrote_and_reads(old: Path, tmp_path: Path) -> None:
    known = json.loads((old / "lvm.json").read_text())
    assert tags.owner_tag(old_reader.OWNER) == known["owner"]
    volumes, ours = [], []
    for volume in known["volumes"]:
        image, charge = tags.decode(volume["name"], volume["size"], volume["tags"])
        assert record.encode(image) == volume["record"]
        assert charge == volume["charge"]
        written = tags.encode(image, charge)
        assert sorted(written) == volume["tags"]
        volumes.append({"name": volume["name"], "size": volume["size"], "tags": written})
        ours.append(describe(image) | {"charge": charge})
    assert sum(image["published"] is not None for image in ours) == 1
    file = tmp_path / "tags.json"
    file.write_text(json.dumps(volumes))
    assert ask_old(old, "lvm", file) == ours


NAMES = ObjectNames("a", "b", "c")  # short ones, so that they fit beside every record


def test_the_older_version_neither_uses_nor_deletes_a_held_volume(
    old: Path, tmp_path: Path
) -> None:
    known = json.loads((old / "lvm.json").read_text())["volumes"]
    images = [tags.decode(each["name"], each["size"], each["tags"])[0] for each in known]
    each = next(image for image in images if isinstance(image, Volume))
    held = replace(each, held=True)
    words = tags.encode(held)
    assert "cellar.hold" in words
    assert tags.decode(tags.lv_name(held.id), held.size, words)[0] == held
    assert set(words) == tags.own_tags(words), "a release takes the tag away"
    file = tmp_path / "held.json"
    volume = {"name": tags.lv_name(held.id), "size": held.size, "tags": words}
    for kind, text in (("lvm", [volume]), ("records", [record.encode(held)])):
        file.write_text(json.dumps(text))
        with pytest.raises(AssertionError, match="schema 2 is newer than this program"):
            ask_old(old, kind, file)
    released = record.encode(replace(held, held=False))
    assert released == record.encode(each)
    file.write_text(json.dumps([released]))
    assert ask_old(old, "records", file)


@pytest.mark.root
def test_a_pool_with_a_held_volume_opens_in_the_older_version_without_it(
    old: Path, freezer: Freezer
) -> None:
    where = old / "pool"
    with closing(loopfile.open_pool("fast", where, OPTIONS, freezer, old_reader.OWNER)) as pool:
        volume = next(image for image in pool.images() if isinstance(image, Volume))
        pool.record(replace(volume, held=True))
    with closing(loopfile.open_pool("fast", where, OPTIONS, freezer, old_reader.OWNER)) as pool:
        found = pool.find(volume.id)
        assert found and found.held, "it survives a restart"
    theirs = ask_old(old, "loopfile", where)
    assert len(theirs) == 12
    assert str(volume.id) not in {image["record"]["id"] for image in theirs}
    assert (where / str(volume.id) / "disk.img").exists(), "the older one has swept nothing away"


def test_images_with_names_in_kubernetes_open_in_the_older_version(
    old: Path, tmp_path: Path
) -> None:
    known = json.loads((old / "lvm.json").read_text())["volumes"]
    images = [tags.decode(each["name"], each["size"], each["tags"])[0] for each in known]
    named = [replace(image, objects=NAMES) for image in images]
    volumes = [
        {"name": each["name"], "size": each["size"], "tags": tags.encode(image, each["charge"])}
        for each, image in zip(known, named, strict=True)
    ]
    assert sum("cellar.k=a/b:c" in volume["tags"] for volume in volumes) >= 5
    file = tmp_path / "tags.json"
    file.write_text(json.dumps(volumes))
    expected = [describe(image) for image in images]
    assert [
        {key: theirs[key] for key in ("record", "published")}
        for theirs in ask_old(old, "lvm", file)
    ] == expected
    file.write_text(json.dumps([record.encode(image) for image in named]))
    theirs = ask_old(old, "records", file)
    assert [each["record"] for each in theirs] == [each["record"] for each in expected]
