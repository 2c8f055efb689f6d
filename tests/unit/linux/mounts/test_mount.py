"""Words of mount options become flags or data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.options import mount_options
from driver.linux.mounts import mount


@pytest.mark.parametrize(
    ("options", "flags", "data"),
    [
        ([], 0, ()),
        (["noatime", "discard", "nodev"], mount.MS_NOATIME | mount.MS_NODEV, ("discard",)),
        (["rw", "ro"], mount.MS_RDONLY, ()),
        (["noatime", "relatime"], mount.MS_RELATIME, ()),
        (["commit=30", "x-a=b", "data=ordered"], 0, ("commit=30", "data=ordered")),
    ],
)
def test_words_become_flags_or_data(options: list[str], flags: int, data: tuple[str, ...]) -> None:
    assert mount.split_options(options) == (flags, data)


@pytest.mark.parametrize("has", [True, False])
def test_a_context_is_left_out_where_the_kernel_has_no_selinux(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount, "_has_selinux", lambda: has)
    context = 'context="a:b:c:s0:c1,c2"'
    assert mount.split_options(["noatime", context]) == (
        mount.MS_NOATIME,
        (context,) if has else (),
    )


@given(st.sampled_from(sorted(mount_options._WORDS)))
def test_every_word_has_its_flag(word: str) -> None:
    assert mount.split_options([word])[1] == ()
