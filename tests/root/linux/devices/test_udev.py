"""The kernel tells of block devices; no udevd is needed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from driver.linux import files
from driver.linux.devices import loop, loop_attach, udev

MIB = 1 << 20


class Ear:
    """Remembers what was heard, and waits for something."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self._news = threading.Condition()

    def __call__(self, action: str, name: str) -> None:
        with self._news:
            self.events.append((action, name))
            self._news.notify_all()

    def hears(self, event: tuple[str, str]) -> bool:
        with self._news:
            return self._news.wait_for(lambda: event in self.events, timeout=10)


def attach_and_detach(image: Path) -> str:
    status = loop_attach.attach(image, label="", block_size=512, read_only=False, discards=True)
    loop.detach(status, bound=5)
    return status.path.name


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    files.create(path, MIB, nocow=False, extent_hint=0)
    return path


def test_an_attached_device_is_heard_of(image: Path) -> None:
    ear = Ear()
    stop = udev.watch(ear)
    try:
        name = attach_and_detach(image)
        assert ear.hears(("change", name))
    finally:
        stop()


def test_after_stop_nothing_is_heard(image: Path) -> None:
    ear = Ear()
    stop = udev.watch(ear)
    stop()
    before = list(ear.events)
    attach_and_detach(image)
    assert ear.events == before


def test_stop_twice_is_content() -> None:
    stop = udev.watch(Ear())
    stop()
    stop()


def test_stop_may_be_called_by_who_hears(image: Path) -> None:
    ended = threading.Event()

    def once(_action: str, _name: str) -> None:
        stop()
        ended.set()

    stop = udev.watch(once)
    attach_and_detach(image)
    assert ended.wait(10)


def test_dropped_events_are_told(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops what does not fit; the smallest buffer and a deaf ear make it so."""
    monkeypatch.setattr(udev, "BUFFER", 1)
    go_on, ear = threading.Event(), Ear()

    def slow(action: str, name: str) -> None:
        go_on.wait(30)
        ear(action, name)

    stop = udev.watch(slow)
    try:
        for _ in range(20):
            attach_and_detach(image)
        go_on.set()
        assert ear.hears(("change", ""))
    finally:
        go_on.set()
        stop()
