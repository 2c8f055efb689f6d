"""The options of a volume: one table for requests, records, tags and the chart's schema."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from driver.backends.lvm import tags
from driver.core.model import FsType, VolumeOptions
from driver.core.options.storage_class_parameters import (
    OPTIONS,
    dump_options,
    load_options,
    option_differences,
    parse_options,
)

DRIVER = Path(__file__).parents[4] / "driver"
OPTIONS_OF_MKFS = VolumeOptions(mkfs_options=("-m", "0"))


def test_every_field_has_an_option_and_a_letter_of_its_own() -> None:
    assert set(OPTIONS) == {field.name for field in fields(VolumeOptions)}
    assert len(set(tags._LETTERS.values())) == len(tags._LETTERS)


def test_options_are_stored_and_read_again() -> None:
    assert parse_options({"mkfs_options": "-m 0"}, FsType.EXT4) == OPTIONS_OF_MKFS
    assert dump_options(OPTIONS_OF_MKFS) == {"mkfsOptions": "-m 0"}
    assert load_options({"mkfsOptions": "-m 0", "id": "x"}) == OPTIONS_OF_MKFS
    assert dump_options(VolumeOptions()) == {}
    assert load_options({}) == VolumeOptions()


def test_only_what_was_requested_is_compared() -> None:
    assert list(option_differences(OPTIONS_OF_MKFS, VolumeOptions())) == []
    assert list(option_differences(OPTIONS_OF_MKFS, OPTIONS_OF_MKFS)) == []
    [text] = option_differences(VolumeOptions(), OPTIONS_OF_MKFS)
    assert text == "its mkfsOptions is '', not '-m 0'"


def test_a_parameter_is_named_in_two_modules_beside_those_that_act_on_it() -> None:
    """What CONTRIBUTING promises to somebody who adds a parameter."""
    acting = {"volumes/contents.py", "volumes/node/encryption.py"}  # mkfs runs at two moments
    named = {
        str(path.relative_to(DRIVER))
        for path in DRIVER.rglob("*.py")
        if re.search(r"(\.|\b)mkfs_options\b(?! import)\s*[:=)]|\"mkfsOptions\"", path.read_text())
    }
    assert named - acting == {"core/model.py", "core/options/storage_class_parameters.py"}
