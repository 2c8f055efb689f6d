"""Which free loop device is bound next: the kernel's answers are simulated."""

from __future__ import annotations

import errno
import fcntl
from itertools import islice

import pytest

from driver.linux.devices import loop_free, loop_ioctl

HARD = "4294966784"  # discard_max_hw_bytes of a device that was bound at least once


NEVER, ON, OFF = ("0", "0"), (HARD, HARD), ("0", HARD)  # discard_max_bytes, discard_max_hw_bytes


class Kernel:
    """Loop devices as sysfs shows them: number -> limits, and which of them are bound."""

    def __init__(self, limits: dict[int, tuple[str, str]], bound: set[int]) -> None:
        self.limits, self.bound = limits, bound

    def ioctl(self, _control: int, request: int, _argument: int = 0) -> int:
        free = [number for number in self.limits if number not in self.bound]
        if request == loop_ioctl.LOOP_CTL_GET_FREE and free:
            return min(free)
        self.limits[new := max(self.limits, default=-1) + 1] = NEVER
        return new

    def attribute(self, name: str, attribute: str) -> bytes:
        if int(name[4:]) not in self.limits:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        is_hard = attribute == "queue/discard_max_hw_bytes"
        return self.limits[int(name[4:])][is_hard].encode()

    def names(self) -> list[str]:
        return [f"loop{number}" for number in self.limits]


def first(  # noqa: PLR0913 - what may be free, and what is known of it
    monkeypatch: pytest.MonkeyPatch,
    kernel: Kernel,
    count: int = 1,
    *,
    discards: bool,
    detached: tuple[str, ...] = (),
    exposed: frozenset[int] = frozenset(),
) -> list[str]:
    monkeypatch.setattr(loop_free, "_detached", detached)
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    monkeypatch.setattr(loop_ioctl, "attribute", kernel.attribute)
    monkeypatch.setattr(loop_ioctl, "read_number", lambda name: int(name[4:]))
    monkeypatch.setattr(loop_ioctl, "names", kernel.names)
    monkeypatch.setattr(loop_free, "_is_free", lambda name: int(name[4:]) not in kernel.bound)
    return list(islice(loop_free.candidates(0, exposed, discards=discards), count))


@pytest.mark.parametrize(
    ("limits", "discards", "expected"),
    [
        ([NEVER], True, "loop0"),
        ([NEVER], False, "loop0"),
        ([ON, OFF], True, "loop0"),
        ([ON, OFF], False, "loop1"),
        ([OFF, ON], True, "loop1"),
        ([OFF, ON], False, "loop0"),
        ([OFF, OFF, NEVER], True, "loop2"),
        ([ON, ON, NEVER], False, "loop2"),
        ([OFF, OFF], True, "loop2"),  # a new one: discards cannot be turned on again
        ([ON, ON], False, "loop0"),  # they can be turned off, and that is cheaper than a new one
        ([], True, "loop0"),
    ],
)
def test_the_first_free_device_of_its_kind_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    limits: list[tuple[str, str]],
    *,
    discards: bool,
    expected: str,
) -> None:
    kernel = Kernel(dict(enumerate(limits)), bound=set())
    assert first(monkeypatch, kernel, discards=discards) == [expected]


def test_bound_devices_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({0: OFF, 1: ON, 2: OFF, 3: ON}, bound={0, 1})
    assert first(monkeypatch, kernel, discards=True) == ["loop3"]


def test_what_was_detached_lately_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({0: OFF, 1: ON, 2: ON, 3: OFF}, bound=set())
    detached = ("loop9", "loop3", "loop2")  # removed meanwhile, of the other kind, right
    assert first(monkeypatch, kernel, discards=True, detached=detached) == ["loop2"]


def test_a_lost_race_is_followed_by_the_next_device(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel({0: OFF, 1: ON, 2: ON}, bound=set())
    assert first(monkeypatch, kernel, 4, discards=True) == ["loop1", "loop2", "loop3", "loop1"]


def test_the_tries_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """And make no more than one device: the next call tries again."""
    monkeypatch.setattr(loop_free, "_PAUSE", 0)
    kernel = Kernel({0: ON}, bound=set())
    tried = first(monkeypatch, kernel, 1000, discards=True)
    assert loop_free.ATTEMPTS <= len(tried) < 1000
    assert set(tried) == {"loop0", "loop1"}


@pytest.mark.parametrize("discards", [True, False])
def test_a_device_that_is_held_exclusively_does_not_use_up_the_tries(
    monkeypatch: pytest.MonkeyPatch, *, discards: bool
) -> None:
    """It is free, so the kernel names it each time; who looks at it may take longer than we try."""
    kernel = Kernel({0: ON if discards else OFF}, bound=set())
    assert first(monkeypatch, kernel, 3, discards=discards) == ["loop0", "loop0", "loop1"]


def test_a_device_that_is_removed_meanwhile_suits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_ioctl, "attribute", Kernel({}, set()).attribute)
    assert not loop_free._suits("loop0", discards=True)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENODEV, errno.ENXIO])
def test_a_device_that_is_removed_while_it_is_asked_is_passed_over(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel({0: ON, 1: ON}, set())

    def attribute(name: str, path: str) -> bytes:
        if name == "loop0":
            raise OSError(code, "gone")
        return Kernel.attribute(kernel, name, path)

    monkeypatch.setattr(kernel, "attribute", attribute)
    assert "loop1" in first(monkeypatch, kernel, discards=True)
