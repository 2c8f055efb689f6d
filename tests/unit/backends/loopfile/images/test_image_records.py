"""Records of images: what is read, what cannot be trusted, and what is no image at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from driver.backends.loopfile.images import image_records, layout
from driver.core.model import MIB, AccessMode, Publication, Unreadable
from tests.unit.backends.loopfile.images.conftest import NAME, POOL, VOLUME

ON_A = Publication("a", read_only=False, mode=AccessMode.SINGLE_NODE_WRITER)


def test_what_was_built_is_read(root: Path) -> None:
    assert image_records.read(root, NAME) == VOLUME
    grown = replace(VOLUME, size=2 * MIB)
    image_records.write_record(root, grown)
    assert image_records.read(root, NAME) == grown
    assert image_records.read(root, f"{POOL}-{'b' * 32}") is None


def test_all_images_are_loaded_and_other_names_are_somebody_elses(root: Path) -> None:
    for name in ("lost+found", f".new-{NAME}", NAME.upper(), f"{NAME}.bak"):
        (root / name).mkdir()
    folders = image_records.list_folders(root)
    assert set(folders) == {NAME}
    assert image_records.load(root, folders) == ([VOLUME], {})


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"\xff", b'{"schema": 999}'],
    ids=["none", "cut", "list", "bytes", "new"],
)
def test_a_record_that_cannot_be_trusted_names_its_image(root: Path, text: bytes) -> None:
    (root / NAME / layout.RECORD).write_bytes(text)
    image = image_records.read(root, NAME)
    assert isinstance(image, Unreadable)
    assert (image.id, image.size) == (VOLUME.id, MIB)
    assert image_records.load(root, image_records.list_folders(root)) == ([], {NAME: image})


def test_a_record_of_another_image_is_none_of_this_one(root: Path) -> None:
    """Somebody copied a folder by hand."""
    other = f"{POOL}-{'b' * 32}"
    (root / other).mkdir()
    (root / other / layout.RECORD).write_bytes((root / NAME / layout.RECORD).read_bytes())
    image = image_records.read(root, other)
    assert isinstance(image, Unreadable)
    assert str(image.id) == other


def test_a_pipe_a_link_and_a_huge_file_are_no_records_and_are_not_waited_for(root: Path) -> None:
    record = root / NAME / layout.RECORD
    text = record.read_bytes()
    record.unlink()
    os.mkfifo(record)
    assert isinstance(image_records.read(root, NAME), Unreadable)
    record.unlink()
    (root / "elsewhere").write_bytes(text)
    record.symlink_to(root / "elsewhere")
    assert isinstance(image_records.read(root, NAME), Unreadable)
    record.unlink()
    record.write_bytes(text + b" " * MIB)
    assert isinstance(image_records.read(root, NAME), Unreadable)


def test_a_process_without_descriptors_takes_no_image_for_damaged(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        image_records.read(root, NAME)


def test_a_publication_is_read_with_its_volume_and_withdrawn_from_its_node(root: Path) -> None:
    published = replace(VOLUME, published=ON_A)
    image_records.write_publication(root, published)
    assert image_records.read(root, NAME) == published
    assert image_records.read(root, NAME, attached=False) == VOLUME
    image_records.withdraw(root, VOLUME.id, "b")
    assert image_records.read(root, NAME) == published
    image_records.withdraw(root, VOLUME.id, "a")
    assert image_records.read(root, NAME) == VOLUME
    image_records.withdraw(root, VOLUME.id, None)  # there is none


def test_a_publication_that_cannot_be_read_is_none_and_can_be_withdrawn(root: Path) -> None:
    """Kubernetes has the attachment, and publishes the volume again."""
    attached = root / NAME / layout.ATTACHED
    attached.write_text("{")
    assert image_records.read(root, NAME) == VOLUME
    image_records.withdraw(root, VOLUME.id, "a")
    assert not attached.exists()
