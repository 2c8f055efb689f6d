"""What libblkid says, in a few words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from driver.core.model import MIB
from driver.linux.disks.blank_scan import Rate
from driver.linux.disks.libblkid import _describe

SIZE = 200 * MIB + 512
FAST = Rate(1 << 50)
Disk = Callable[..., int]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "DEVNAME=/dev/x\nLABEL=a\\ b\nTYPE=swap\nUSAGE=other\n",
            "swap (other) with the label 'a b'",
        ),
        ("DEVNAME=/dev/x\nTYPE=xfs\nUSAGE=filesystem\n", "xfs (filesystem)"),
        ("DEVNAME=/dev/x\nPTTYPE=gpt\n", "a partition table (gpt)"),
        ("DEVNAME=/dev/x\n", "something that libblkid recognizes"),
    ],
)
def test_a_probe_of_libblkid_is_said_in_a_few_words(text: str, words: str) -> None:
    assert _describe(text) == words
