"""Mount options: which are accepted, and what several of them amount to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.core.errors import Invalid
from driver.core.model import FsType
from driver.core.options import mount_options
from driver.core.options.mount_settings import SETTINGS

EXT4, XFS, BTRFS = FsType.EXT4, FsType.XFS, FsType.BTRFS
DEFAULTS = "rw,suid,dev,exec,auto,nouser,async"  # what mount(8) calls "defaults"
CONTEXT = 'context="system_u:object_r:container_file_t:s0:c1,c2"'

TAKEN = [
    (None, "noatime"),
    (None, "discard"),
    (EXT4, "data=ordered"),
    (EXT4, "commit=30"),
    (BTRFS, "compress=zstd:3"),
    (XFS, "logbsize=256k"),
    (EXT4, "errors=remount-ro"),
    (XFS, 'context="system_u:object_r:container_file_t:s0"'),
    (EXT4, CONTEXT),
    (EXT4, "context=system_u:object_r:container_file_t:s0"),
    (BTRFS, "user=somebody"),
    (XFS, "comment=anything-at-all"),
    (XFS, "x-systemd.device-timeout=10"),
]
# What each filesystem has, or what none has, for a reason.
NOWHERE = """
bind rbind remount remount=1 move loop loop=/dev/loop0 offset=4096 helper=x shared
rslave private journal_path=/dev/sda journal_dev=0x801 logdev=/x rtdev=/dev/sda
device=/dev/sda usrjquota=../x noload norecovery nologreplay rescue=all degraded
errors=panic fatal_errors=panic warn_on_error abort nobarrier barrier=0 data=writeback
sb=32768 subvol=/data subvolid=256 nonsense data=nonsense
"""
REFUSED = [
    *((None, option) for option in NOWHERE.split()),
    (EXT4, "compress=zstd"),
    (XFS, "data=ordered"),
    (BTRFS, "nouuid"),
    (XFS, "logbsize=many"),
    (BTRFS, "compress=zstd:99"),
    (EXT4, "commit=-1"),
    (EXT4, "commit"),
    (None, "no atime"),
    (None, "noatime\n"),
    (None, "no\0atime"),
    (None, "noatime;reboot"),
    (None, "x" * 256),
    (None, "x-" + "x" * 256),
    (None, "ä"),
    # quotes carry a comma past whoever counts options, where no security module reads them first
    (EXT4, 'data="x,journal_path=/dev/sda,y"'),
    (EXT4, 'commit="5"'),
    (EXT4, '"noatime"'),
    (EXT4, 'context="a'),
    (EXT4, 'context=a"b,c"'),
    (EXT4, 'context="a b"'),
    (EXT4, 'seclabel="a,b"'),
]


@pytest.mark.parametrize(("fs", "option"), TAKEN)
def test_ordinary_mount_options_pass(fs: FsType | None, option: str) -> None:
    assert mount_options.parse([option], fs) == (option,)


@pytest.mark.parametrize(("fs", "option"), REFUSED)
@pytest.mark.parametrize("before", ["", "noatime,"])
def test_what_is_not_known_to_be_harmless_is_refused(
    fs: FsType | None, option: str, before: str
) -> None:
    for each in [fs] if fs else [None, *FsType]:
        with pytest.raises(Invalid, match=r"mount_flags: .* is not accepted"):
            mount_options.parse([before + option], each)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("errors=panic", "'errors=panic' is not accepted: an error of one volume would stop"),
        ("logdev=/dev/sdq", "'logdev' is not accepted: it names another device"),
        ("rescue=all", "'rescue' is not accepted: it mounts what is damaged"),
        ("subvol=/a", "'subvol' is not accepted: a volume is mounted in one way"),
        ("nonsense=3", "'nonsense' is not accepted for ext4"),
    ],
)
def test_a_refusal_says_why_and_shows_no_value(option: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        mount_options.parse([option], EXT4)
    assert "/dev/sdq" not in str(caught.value)


def test_flags_are_taken_apart_at_commas_but_for_those_in_a_context() -> None:
    assert mount_options.parse(["noatime,discard", "", "ro,"], XFS) == ("noatime", "discard", "ro")
    assert mount_options.parse([f"noatime,{CONTEXT},ro"], XFS) == ("noatime", CONTEXT, "ro")


def test_more_than_a_page_of_options_is_refused() -> None:
    with pytest.raises(Invalid, match="4000 characters"):
        mount_options.parse(["x-" + "y" * 200] * 20, None)


@given(st.lists(st.text(max_size=40), max_size=4), st.sampled_from([None, *FsType]))
def test_what_passes_has_no_comma_and_no_white_space(flags: list[str], fs: FsType | None) -> None:
    try:
        checked = mount_options.parse(flags, fs)
    except Invalid:
        return
    assert all(one and not set(", \t\n\0") & set(one) for one in checked)


@pytest.mark.parametrize(
    ("options", "flags", "data"),
    [
        ("", "", ""),
        (DEFAULTS, "", ""),
        ("noatime,discard,nodev", "noatime nodev", "discard"),
        ("ro,rw", "", ""),
        ("rw,ro", "ro", ""),
        ("noatime,relatime", "relatime", ""),
        ("noatime,atime", "", ""),
        ("nodev,dev,nosuid,noexec,exec", "nosuid", ""),
        ("defaults,nofail,_netdev,x-systemd.automount,X-mount.mkdir,comment=x", "", ""),
        ("nouser,nousers,noowner,nogroup,silent,loud,user=me", "", ""),
        ("user", "nosuid nodev noexec", ""),  # as mount(8) has it
        ("group,exec", "nosuid nodev", ""),
        ("users,exec,dev,suid", "", ""),
        ("commit=30,data=ordered", "", "commit=30 data=ordered"),
    ],
)
def test_options_amount_to_what_the_last_of_them_say(options: str, flags: str, data: str) -> None:
    effect = mount_options.effective(mount_options.parse([options], EXT4))
    assert effect.flags == set(flags.split())
    assert effect.data == tuple(data.split())


SAME = [
    (EXT4, DEFAULTS, "rw,relatime"),
    (EXT4, "noatime,relatime", "rw,relatime"),
    (EXT4, "nodev,dev,noatime,strictatime", "rw"),
    (EXT4, "data=journal", "rw,relatime,nodelalloc,nodioread_nolock,data=journal"),
    (EXT4, "data=journal,data=ordered,commit=0,barrier,acl", "rw,relatime"),
    (EXT4, "discard,nodiscard", "rw,relatime"),
    (XFS, "", "rw,relatime,inode64,logbufs=8,logbsize=32k,noquota,attr2"),
    (XFS, "allocsize=1m", "rw,relatime,inode64,allocsize=1024k,logbufs=8"),
    (BTRFS, "compress=zstd", "rw,relatime,compress=zstd:3,ssd,discard=async,space_cache=v2"),
    (BTRFS, "compress=zstd,compress=none", "rw,relatime,ssd,subvolid=5,subvol=/"),
    (EXT4, CONTEXT, "rw,relatime"),  # no SELinux here: it was left out
    (EXT4, CONTEXT, f"rw,relatime,{CONTEXT}"),
]
OTHER = [
    (EXT4, "", "rw,noatime", "noatime is set"),
    (EXT4, "noatime", "rw,relatime", "noatime is not set"),
    (EXT4, "sync", "rw,relatime", "sync is not set"),
    (EXT4, "strictatime", "rw,relatime", "relatime is set"),
    (EXT4, "data=journal", "rw,relatime", "data is ordered"),
    (EXT4, "", "rw,relatime,data=journal", "data is journal"),
    (EXT4, "commit=30", "rw,relatime,commit=40", "commit is 40"),
    (EXT4, "", "rw,relatime,errors=remount-ro", "errors is remount-ro"),
    (XFS, "discard", "rw,relatime,inode64", "discard is off"),
    (XFS, "logbsize=256k", "rw,relatime,logbsize=32k", "logbsize is 32768"),
    (BTRFS, "compress=zstd:1", "rw,relatime,compress=zstd:3", "compress is zstd:3"),
    (BTRFS, "", "rw,relatime,autodefrag", "autodefrag is on"),
    (EXT4, "", f"rw,relatime,{CONTEXT}", "SELinux context"),
    (EXT4, CONTEXT, "rw,relatime,seclabel", "that of each file"),
]


def shown(text: str) -> frozenset[str]:
    return frozenset(mount_options._OPTION.findall(text))


@pytest.mark.parametrize(("fs", "asked", "has"), SAME)
def test_options_that_amount_to_what_is_mounted_are_the_same(
    fs: FsType, asked: str, has: str
) -> None:
    options = mount_options.parse([asked], fs)
    assert mount_options.differences(fs, options, shown(has), discards=True) == ()


@pytest.mark.parametrize(("fs", "asked", "has", "says"), OTHER)
def test_other_options_than_are_mounted_are_told(
    fs: FsType, asked: str, has: str, says: str
) -> None:
    options = mount_options.parse([asked], fs)
    [differences] = mount_options.differences(fs, options, shown(has), discards=True)
    assert says in differences


@pytest.mark.parametrize("fs", FsType)
@pytest.mark.parametrize("has", ["rw,relatime", "rw,relatime,discard"])
def test_a_device_without_discards_may_show_the_option_or_not(fs: FsType, has: str) -> None:
    options = mount_options.parse(["discard"], fs)
    assert mount_options.differences(fs, options, shown(has), discards=False) == ()


@given(st.data(), st.sampled_from(FsType))
def test_any_options_are_the_same_as_a_mount_that_shows_them(
    data: st.DataObject, fs: FsType
) -> None:
    words = [word for each in SETTINGS[fs] for word in each.words] + list(mount_options._WORDS)
    options = data.draw(st.lists(st.sampled_from(words), max_size=6))
    effect = mount_options.effective(options)
    told = {
        word
        for each in SETTINGS[fs]
        for word, value in each.words.items()
        if mount_options._last(each, effect.data) == value
    }
    has = effect.mountinfo_flags | told
    assert mount_options.differences(fs, options, has, discards=True) == ()
