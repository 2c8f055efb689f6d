"""A filesystem out of a template is what mkfs.ext4 makes, but for what has to be its own."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic

import pytest

from driver.core.model import GIB, KIB, MIB, Bytes, FsType
from driver.linux import command, files
from driver.linux.formats import ext4, ext4_template, ext4_uuid, filesystem
from driver.linux.formats.ext4_template import Templates
from tests.root.linux.conftest import SIZE, Attach
from tests.root.linux.formats.ext4_images import described, image, uuid_in
from tests.root.linux.images import check, make, refuses, snapshot, unmount

SIZES = [8 * MIB, 16 * MIB + 12 * KIB, 64 * MIB, 129 * MIB, GIB, 10 * GIB, ext4_template.LARGEST]
OWN = re.compile(
    r".*(UUID|Hash Seed|hecksum|created|write time|checked|Lifetime writes).*\n|csum 0x\w+"
)


class Mkfs:
    """mkfs.ext4, counted."""

    def __init__(self, *more: str) -> None:
        self.runs: list[Path] = []
        self._more = more

    def __call__(self, where: Path) -> None:
        self.runs.append(where)
        command.run(["mkfs.ext4", "-q", "-F", *words(where), *self._more, where], timeout=60)


def words(where: Path) -> list[str]:
    return filesystem.merge_flags(ext4.flags(where, 4096), [])


@pytest.mark.parametrize("size", SIZES)
def test_it_is_what_mkfs_makes(tmp_path: Path, size: Bytes) -> None:
    templates, mkfs = Templates(), Mkfs()
    plain, first, second = (image(tmp_path / name, size) for name in ("plain", "first", "second"))
    mkfs(plain)
    for each in (first, second):
        templates.make(each, each.stat().st_size, words(each), mkfs)
    assert len(mkfs.runs) == 2
    for each in (first, second):
        check(FsType.EXT4, each)
        assert OWN.sub("", described(each)) == OWN.sub("", described(plain))
        assert each.stat().st_size == size
        assert each.stat().st_blocks <= plain.stat().st_blocks
    assert len({uuid_in(each) for each in (plain, first, second)}) == 3


def test_all_superblocks_have_its_uuid(tmp_path: Path) -> None:
    templates, mkfs = Templates(), Mkfs()
    for name in ("first", "second"):
        where = image(tmp_path / name, 2 * GIB)
        templates.make(where, where.stat().st_size, words(where), mkfs)
        said = described(where)
        backups = re.findall(r"Backup superblock at (\d+)", said)
        assert len(backups) == 5  # of 16 groups: 1, 3, 5, 7, 9
        found = {uuid_in(where, "-o", f"superblock={one}", "-oblocksize=4096") for one in backups}
        assert found == {uuid_in(where)}


def test_every_byte_of_a_thick_image_keeps_its_place(tmp_path: Path) -> None:
    where = image(tmp_path / "thick")
    files.allocate(where, SIZE)
    make(FsType.EXT4, where)
    check(FsType.EXT4, where)
    assert where.stat().st_blocks * 512 >= SIZE


def test_two_brothers_live_side_by_side(attach: Attach, tmp_path: Path) -> None:
    """Mounted, written to, crashed and replayed, each with its own bytes."""
    templates, mkfs = Templates(), Mkfs()
    for name in ("first", "second"):
        where = image(tmp_path / name)
        templates.make(where, where.stat().st_size, words(where), mkfs)
    volumes = [attach(FsType.EXT4, image=tmp_path / name) for name in ("first", "second")]
    for volume in volumes:
        for number in range(300):  # enough for an indexed directory
            (volume.target / f"{volume.image.name}-{number}").write_text(volume.image.name)
        files.sync(volume.target)
    crashed = snapshot(volumes[0], tmp_path / "crashed")
    for volume in volumes:
        unmount(volume)
        check(FsType.EXT4, volume.image)
    again = attach(FsType.EXT4, image=crashed)
    names = {each.name for each in again.target.iterdir()} - {"lost+found"}
    assert names == {f"first-{number}" for number in range(300)}


def test_other_words_make_another_template(tmp_path: Path) -> None:
    templates, plain, other = Templates(), Mkfs(), Mkfs("-m", "0")
    where = image(tmp_path / "image")
    templates.make(where, where.stat().st_size, words(where), plain)
    where = image(where)
    templates.make(where, where.stat().st_size, [*words(where), "-m", "0"], other)
    assert len(other.runs) == 1
    assert re.search(r"Reserved block count: +0\n", described(where))


def test_what_the_user_asked_for_is_made_by_mkfs_itself(tmp_path: Path) -> None:
    for _ in range(2):
        where = image(tmp_path / "image")
        make(FsType.EXT4, where, "-L", "mine")
        assert "mine" in described(where, "-h")


def test_templates_are_few_and_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    templates, mkfs = Templates(), Mkfs()
    where = tmp_path / "image"

    def runs(size: Bytes) -> int:
        before = len(mkfs.runs)
        templates.make(image(where, size), size, words(where), mkfs)
        check(FsType.EXT4, where)
        return len(mkfs.runs) - before

    assert [runs(10 * GIB), runs(10 * GIB)] == [1, 0]
    assert [runs(GIB), runs(10 * GIB), runs(GIB)] == [1, 0, 0]
    assert [runs(11 * GIB), runs(11 * GIB), runs(GIB), runs(10 * GIB)] == [1, 0, 0, 1]  # of 4 MiB
    later = monotonic() + 601.0
    monkeypatch.setattr("driver.linux.formats.ext4_template.monotonic", lambda: later)
    assert [runs(10 * GIB), runs(10 * GIB)] == [1, 0]


def test_beyond_some_size_mkfs_writes_straight_into_the_image(tmp_path: Path) -> None:
    templates, mkfs = Templates(), Mkfs()
    where = image(tmp_path / "image", ext4_template.LARGEST + MIB)
    templates.make(where, where.stat().st_size, words(where), mkfs)
    assert mkfs.runs == [where]
    check(FsType.EXT4, where)


@pytest.mark.parametrize("features", ["^metadata_csum_seed", "mmp", "bigalloc", "meta_bg"])
def test_what_is_not_known_is_made_and_renewed_by_the_programs(
    tmp_path: Path, features: str
) -> None:
    templates, mkfs = Templates(), Mkfs("-O", "^resize_inode," + features)
    where = image(tmp_path / "image")
    templates.make(where, where.stat().st_size, words(where), mkfs)
    assert mkfs.runs[-1] == where
    at_first = uuid_in(where)
    refuses(ext4_uuid.new_uuid, where)
    filesystem.new_uuid(where, FsType.EXT4, block_size=4096)
    assert uuid_in(where) != at_first
    check(FsType.EXT4, where)
