"""Mount options: which ones are accepted, their combined effect, and whether a mount has that
effect.

For each filesystem only the options listed here are accepted. Options that name another device or
file, change the kind of mount, or reduce safety for all pods of a node are not; `_WHY_NOT` has the
reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from driver.core.errors import Invalid
from driver.core.model import FsType
from driver.core.options.mount_settings import SETTINGS, Setting

T = TypeVar("T")

LONGEST: Final = 4000  # characters of all options; mount(2) takes one page and cuts the rest


def _each(words: str, value: T) -> dict[str, T]:
    """Map each of the words to the same value."""
    return dict.fromkeys(words.split(), value)


# The words that mount(8) turns into flags of mount(2), or reads itself: what each sets and clears.
# What fstab(5) says to others sets nothing; `user` and `owner` do what they do for mount(8).
_ATIME: Final = ("noatime", "relatime", "strictatime")
_FOR_USERS: Final = ("nosuid nodev noexec", "")
_FOR_OWNERS: Final = ("nosuid nodev", "")
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "ro": ("ro", ""),
    "rw": ("", "ro"),
    "nosuid": ("nosuid", ""),
    "suid": ("", "nosuid"),
    "nodev": ("nodev", ""),
    "dev": ("", "nodev"),
    "noexec": ("noexec", ""),
    "exec": ("", "noexec"),
    "sync": ("sync", ""),
    "async": ("", "sync"),
    "dirsync": ("dirsync", ""),
    "nosymfollow": ("nosymfollow", ""),
    "symfollow": ("", "nosymfollow"),
    "noatime": ("noatime", "relatime strictatime"),
    "atime": ("", "noatime"),
    "nodiratime": ("nodiratime", ""),
    "diratime": ("", "nodiratime"),
    "relatime": ("relatime", "noatime strictatime"),
    "norelatime": ("", "relatime"),
    "strictatime": ("strictatime", "noatime relatime"),
    "nostrictatime": ("", "strictatime"),
    "lazytime": ("lazytime", ""),
    "nolazytime": ("", "lazytime"),
    "iversion": ("iversion", ""),
    "noiversion": ("", "iversion"),
    "user": _FOR_USERS,
    "users": _FOR_USERS,
    "owner": _FOR_OWNERS,
    "group": _FOR_OWNERS,
    **_each("defaults auto noauto nofail _netdev nouser nousers noowner nogroup", ("", "")),
    **_each("silent loud mand nomand", ("", "")),
}
_REMARK: Final = re.compile(r"[xX]-.*|(comment|user)=.*")
# As mountinfo shows flags. `relatime` is the kernel's default.
_MOUNTINFO_FLAGS: Final = frozenset(
    _each("nosuid nodev noexec sync dirsync nosymfollow nodiratime lazytime noatime relatime", "")
)

_OPTION: Final = re.compile(r'(?:[^,"]|"[^"]*")+|"')  # an SELinux context has commas in quotes
_PLAIN: Final = "A-Za-z0-9_.:=+/@%-"
_MOUNT: Final = re.compile(rf"[{_PLAIN}]{{1,255}}", re.ASCII)
_LABEL: Final = re.compile(
    rf'(?:context|fscontext|defcontext|rootcontext)=(?:[{_PLAIN}]{{1,255}}|"[{_PLAIN},]{{1,255}}")',
    re.ASCII,
)


_EVERY: Final = tuple(setting for settings in SETTINGS.values() for setting in settings)

_ELSEWHERE: Final = "it names another device or file"
_ANOTHER: Final = "a volume is mounted in one way, as a whole"
_REPAIR: Final = "it mounts what is damaged or was not repaired; a person does that, by hand"
_UNSAFE: Final = "after a power cut, what was written would be lost or replaced"
_PANIC: Final = "an error of one volume would stop the whole node"
_WHY_NOT: Final[dict[str, str]] = {
    **_each("journal_path journal_dev logdev rtdev device usrjquota", _ELSEWHERE),
    **_each("grpjquota jqfmt sb helper uhelper encryption", _ELSEWHERE),
    **_each("bind rbind remount move loop offset sizelimit", _ANOTHER),
    **_each("shared slave private unbindable subvol subvolid", _ANOTHER),
    **_each("rshared rslave rprivate runbindable", _ANOTHER),
    **_each("noload norecovery nologreplay rescue degraded recovery", _REPAIR),
    **_each("usebackuproot abort clear_cache rescan_uuid_tree", _REPAIR),
    **_each("nobarrier barrier=0 data=writeback journal_async_commit", _UNSAFE),
    **_each("errors=panic fatal_errors warn_on_error errortag", _PANIC),
}


@dataclass(frozen=True, slots=True)
class EffectiveOptions:
    """The combined effect of mount options: the flags of mount(2), by option name, and all other
    options in order.
    """

    flags: frozenset[str]
    data: tuple[str, ...]

    @property
    def mountinfo_flags(self) -> frozenset[str]:
        """Return the flags with the names that /proc/self/mountinfo prints for them."""
        usual = {"relatime"} if not self.flags & set(_ATIME) else set()
        return (self.flags | usual) & _MOUNTINFO_FLAGS


def parse(flags: Iterable[str], fs: FsType | None) -> tuple[str, ...]:
    """Split mount flags at their commas and return the single options.

    `fs`: the volume's filesystem; None: options of any filesystem are accepted. Raises:
    Invalid, whose text names the first option that is not accepted, or says that the options
    have more than 4000 characters together.
    """
    options = tuple(part for flag in flags for part in _OPTION.findall(flag))
    if sum(len(option) + 1 for option in options) > LONGEST:
        raise Invalid(f"mount_flags: more than {LONGEST} characters")
    require(options, fs)
    return options


def require(options: Iterable[str], fs: FsType | None) -> None:
    """Check that each of the mount `options` is accepted for `fs` (None: for any filesystem).
    Raises: Invalid for the first option that is not.
    """
    settings = _EVERY if fs is None else SETTINGS[fs]
    for option in options:
        if is_label(option) or (_MOUNT.fullmatch(option) and _is_word(option)):
            continue
        setting = _MOUNT.fullmatch(option) and _find_setting(option, settings)
        if not setting:
            raise Invalid(f"mount_flags: {_refused(option, fs)}")


def effective(options: Iterable[str]) -> EffectiveOptions:
    """Return the combined effect of the mount `options`, which were accepted before; of
    contradicting options the last one wins.
    """
    flags, data = set[str](), list[str]()
    for option in options:
        if option in _WORDS:
            sets, clears = _WORDS[option]
            flags = (flags - set(clears.split())) | set(sets.split())
        elif not _REMARK.fullmatch(option):
            data.append(option)
    return EffectiveOptions(frozenset(flags), tuple(data))


def is_label(option: str) -> bool:
    """Return whether the option is an SELinux context, which mount(8) drops on a kernel without
    SELinux.
    """
    return bool(_LABEL.fullmatch(option))


def differences(
    fs: FsType, options: Iterable[str], current: frozenset[str], *, discards: bool
) -> tuple[str, ...]:
    """Return, as texts, how a mount with the options `current` in mountinfo differs from the effect
    of the requested `options`.

    `discards`: whether the device accepts discards; if not, the option `discard` is not compared,
    because only some kernels drop it.
    """
    effect = effective(options)
    flags = sorted((effect.mountinfo_flags ^ (current & _MOUNTINFO_FLAGS)) - {"relatime"})
    texts = [f"{flag} is {'' if flag in current else 'not '}set" for flag in flags]
    if not flags and effect.mountinfo_flags ^ (current & _MOUNTINFO_FLAGS):
        texts = [f"relatime is {'' if 'relatime' in current else 'not '}set"]
    texts += _label_differences(effect.data, current)
    for setting in SETTINGS[fs]:
        if not setting.reported or (setting.name == "discard" and not discards):
            continue
        has, asked = _last(setting, current), _last(setting, effect.data)
        is_content = setting.chosen or has in {None, setting.absent}
        if (asked is None and not is_content) or (asked and asked != (has or setting.absent)):
            texts.append(f"{setting.name} is {has or setting.absent or 'not set'}")
    return tuple(texts)


def _label_differences(data: Iterable[str], current: frozenset[str]) -> list[str]:
    """Return in what the SELinux contexts differ; nothing if the kernel has no labels, because
    mount(8) left them out there.
    """
    has = {option.replace('"', "") for option in current if is_label(option)}
    asked = {option.replace('"', "") for option in data if is_label(option)}
    if has == asked or not (has or "seclabel" in current):
        return []
    return [f"the SELinux context is {', '.join(sorted(has)) or 'that of each file'}"]


def _last(setting: Setting, options: Iterable[str]) -> str | None:
    """Return the value of the last option that belongs to the setting; None: there is none."""
    values = [value for option in options if (value := setting.value(option)) is not None]
    return values[-1] if values else None


def _find_setting(option: str, settings: Iterable[Setting]) -> Setting | None:
    """Return the setting to which the option belongs; None: it is not accepted."""
    return next((each for each in settings if each.value(option) is not None), None)


def _is_word(option: str) -> bool:
    """Return whether mount(8) itself reads the option, or ignores it as a remark."""
    return option in _WORDS or bool(_REMARK.fullmatch(option))


def _refused(option: str, fs: FsType | None) -> str:
    """Return why the option is refused. Its value is left out, unless the whole option is a known
    one: it may be somebody's secret.
    """
    name = option.partition("=")[0]
    reason = _WHY_NOT.get(option) or _WHY_NOT.get(name)
    text = option if option in _WHY_NOT else name
    suffix = f" for {fs}" if fs and not reason else ""
    return f"{text!r} is not accepted{suffix}" + (f": {reason}" if reason else "")
