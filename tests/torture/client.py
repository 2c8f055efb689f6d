"""One client of a torture run: a seeded loop of calls about volumes of its own, each checked."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import grpc

from tests.support.client import MIB, code_of, digest, of_snapshot, of_volume
from tests.support.node import Life, write_durably
from tests.torture.model import Item, Presence
from tests.torture.run import Channel, Impatience, TortureRun

# What a client repeats, as kubelet and the sidecars do; CANCELLED is our own doing.
AGAIN = frozenset({"ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
# Answers that may be right where the pool is full or broken on purpose; never INTERNAL or UNKNOWN.
REFUSALS = frozenset({"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "OUT_OF_RANGE"})
GIVE_UP = 150.0  # seconds after which a call that is only ever repeated is a finding
PAUSE = 0.05  # seconds before a repeat
VOLUMES = 3  # of one client
FILE = 256 * 1024  # bytes


@dataclass
class Volume:
    """A volume of a client, and whether it is up: staged and published."""

    item: Item
    life: Life | None = None
    up: bool = False
    fills: int = 0  # how often the pool had been filled by somebody else when this was made


class TortureClient:
    """Runs until `stop` is set. `number` makes its names its own; the seed makes its choices."""

    def __init__(self, number: int, torture: TortureRun) -> None:
        self._random = random.Random(f"{torture.findings.seed}/{number}")
        self._number, self._node = number, torture.node
        impatience = Impatience(
            random.Random(f"{torture.findings.seed}/{number}/i"), torture.counts
        )
        self._channel = Channel(torture.csi.driver.endpoint, impatience)
        self._csi = self._channel.csi()
        self._model, self._findings = torture.model, torture.findings
        self._counts = torture.counts
        self._volumes: list[Volume] = []
        self._snapshots: list[Item] = []
        self._made = 0
        self._twice = ThreadPoolExecutor(2)
        self.calls = 0
        self.idle = Event()

    def run(self, stop: Event, pause: Event) -> None:
        """Work until `stop`; stand still, with `idle` set, while `pause` is."""
        try:
            while not stop.is_set():
                if pause.is_set():
                    self.idle.set()
                    time.sleep(PAUSE)
                    continue
                self.idle.clear()
                self._step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has found it
            self._findings.add(f"client {self._number}: {error!r}")
        finally:
            self.idle.set()
            self._twice.shutdown()

    def _step(self) -> None:
        if len(self._volumes) < VOLUMES and self._random.random() < 0.5:
            self._create()
        elif self._volumes:
            volume = self._random.choice(self._volumes)
            steps = self._steps_up() if volume.up else self._steps_down()
            self._random.choice(steps)(volume)

    def _steps_down(self) -> list[Callable[[Volume], None]]:
        return [self._raise, self._raise, self._raise, self._snapshot, self._clone, self._delete]

    def _steps_up(self) -> list[Callable[[Volume], None]]:
        often = [self._write, self._write, self._verify]
        return [*often, self._snapshot, self._expand, self._look, self._clone, self._lower]

    # calls

    def _call(
        self,
        what: str,
        call: Callable[[], Any],
        *,
        allowed: frozenset[str] = REFUSALS,
        again: frozenset[str] = AGAIN,
    ) -> Any:
        """Repeat until it is answered for good: the answer, or None for an allowed refusal."""
        end = time.monotonic() + GIVE_UP
        while True:
            self.calls += 1
            try:
                return self._once(call) or True
            except grpc.RpcError as error:
                code, text = code_of(error), error.details()
            if code in allowed:
                return None
            if code == "FAILED_PRECONDITION":
                self._counts["takings-down that had to be repeated"] += 1
            if code not in again or time.monotonic() > end:
                self._findings.add(f"client {self._number}: {what}: {code} {text!r}")
                return None
            time.sleep(PAUSE)

    def _once(self, call: Callable[[], Any]) -> Any:
        """One call in five is made twice at once: each may answer, or say ABORTED.

        A refusal of one of them says nothing of the other if that may still be at work.
        """
        if self._random.random() > 0.2:
            return call()
        both = [self._twice.submit(call) for _ in range(2)]
        errors = [error for future in both if (error := future.exception())]
        if len(errors) < len(both):
            return next(future.result() for future in both if not future.exception())
        raise next((error for error in errors if _asks_for_a_repeat(error)), errors[0])

    # volumes

    def _create(self, source: Item | None = None) -> None:
        self._made += 1
        block = not source and self._random.random() < 0.25
        fs = "" if block else source.fs if source else self._random.choice(["ext4", "xfs"])
        size = (
            source.size if source else (320 if fs == "xfs" else self._random.choice([16, 32])) * MIB
        )
        item = Item(f"c{self._number}-v{self._made}", size, fs)
        how: dict[str, Any] = {"block": True} if not fs else {"fs": fs}
        self._model.add(item)
        item.presence = Presence.MAYBE
        content = (of_snapshot if source.snapshot else of_volume)(source.id) if source else None
        with self._model.changing(item):
            made = self._call(
                f"create {item.name}",
                lambda: self._csi.create(item.name, size, source=content, **how),
            )
            if made:
                item.id, item.presence = made.volume_id, Presence.YES
                item.files = dict(source.files) if source else {}
                life = self._node.life(self._csi, item.id, **how)
                self._volumes.append(Volume(item, life, fills=self._counts["fill"]))
            else:
                item.presence = Presence.NO

    def _clone(self, volume: Volume) -> None:
        if self._made % 3 or len(self._volumes) >= VOLUMES + 1 or not volume.item.fs:
            return
        sources = [one for one in self._snapshots if one.fs] + [volume.item] * (not volume.up)
        if sources:
            self._create(self._random.choice(sources))

    def _delete(self, volume: Volume) -> None:
        item = volume.item
        with self._model.changing(item):
            item.presence = Presence.MAYBE
            if self._call(
                f"delete {item.name}", lambda: self._csi.delete(item.id), allowed=frozenset()
            ):
                item.presence = Presence.NO
                self._volumes.remove(volume)

    def _raise(self, volume: Volume) -> None:
        life = volume.life
        assert life
        volume.up = bool(
            self._call(f"stage {volume.item.name}", life.stage)
            and self._call(f"publish {volume.item.name}", life.publish)
        )
        if volume.up:
            self._verify(volume)
        else:
            self._lower(volume)

    def _lower(self, volume: Volume) -> None:
        life, name = volume.life, volume.item.name
        assert life
        # Kubelet repeats these as long as something holds the mount; never to come off is a finding.
        how = {"allowed": frozenset[str](), "again": AGAIN | {"FAILED_PRECONDITION"}}
        self._call(f"unpublish {name}", life.unpublish, **how)
        self._call(f"unstage {name}", life.unstage, **how)
        volume.up = False

    # bytes

    def _write(self, volume: Volume) -> None:
        item, target = volume.item, self._target(volume)
        name = "device" if not item.fs else f"f{self._random.randrange(4)}"
        with self._model.changing(item):
            item.files.pop(name, None)
            try:
                if item.fs:
                    item.files[name] = write_durably(target / name, FILE)
                else:
                    item.files[name] = overwrite(target, item.size, self._random)
            except OSError as error:
                self._judge(volume, error)

    def _judge(self, volume: Volume, error: OSError) -> None:
        """A write failed. What somebody else took from a pool is what snapshots were owed."""
        if self._counts["fill"] > volume.fills:
            self._counts["writes refused by a pool that somebody had filled"] += 1
            self._lower(volume)
            self._delete(volume)
        else:
            text = f"write to {volume.item.name}: {error}"
            self._findings.add(f"client {self._number}: {text}")

    def _verify(self, volume: Volume) -> None:
        if not volume.up:
            return
        if wrong := differences(volume.item.files.items(), self._target(volume), volume.item.fs):
            self._findings.add(f"client {self._number}: {volume.item.name}: {wrong}")

    def _expand(self, volume: Volume) -> None:
        item, target = volume.item, self._target(volume)
        size = item.size + 16 * MIB
        if not item.fs or size > 512 * MIB:
            return
        with self._model.changing(item):
            if self._call("expand", lambda: self._csi.expand(item.id, size, fs=item.fs)):
                item.size = size
                self._call("grow", lambda: self._csi.grow(item.id, target, size, fs=item.fs))

    def _snapshot(self, volume: Volume) -> None:
        if len(self._snapshots) >= VOLUMES:
            self._drop_snapshot(self._snapshots[0])
            return
        self._made += 1
        item = Item(
            f"c{self._number}-s{self._made}", volume.item.size, volume.item.fs, snapshot=True
        )
        self._model.add(item)
        item.presence = Presence.MAYBE
        with self._model.changing(item):
            made = self._call("snapshot", lambda: self._csi.snapshot(item.name, volume.item.id))
            item.presence = Presence.YES if made else Presence.NO
            if made:
                item.id, item.files = made.snapshot_id, dict(volume.item.files)
                self._snapshots.append(item)

    def _drop_snapshot(self, item: Item) -> None:
        with self._model.changing(item):
            item.presence = Presence.MAYBE
            if self._call("delete snapshot", lambda: self._csi.delete_snapshot(item.id)):
                item.presence = Presence.NO
                self._snapshots.remove(item)

    def _look(self, volume: Volume) -> None:
        self._call("stats", lambda: self._csi.stats(volume.item.id, self._target(volume)))
        self._call("list", self._csi.volumes)
        self._call("capacity", self._csi.capacity)

    def _target(self, volume: Volume) -> Path:
        assert volume.life
        return volume.life.target

    def take_down(self) -> None:
        """Unpublish and unstage everything, while this client stands still."""
        for volume in self._volumes:
            if volume.up:
                self._lower(volume)

    def clear(self) -> None:
        """Take everything down and delete it, as the end of a run does."""
        self._twice = ThreadPoolExecutor(2)
        for volume in list(self._volumes):
            self._lower(volume)
            self._delete(volume)
        for item in list(self._snapshots):
            self._drop_snapshot(item)
        self._twice.shutdown()
        self._channel.close()


def _asks_for_a_repeat(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and code_of(error) in AGAIN


def overwrite(device: Path, size: int, chosen: random.Random) -> str:
    """Write all of a block device, on the medium when this returns; its digest."""
    with device.open("r+b") as file:
        file.write(chosen.randbytes(size))
        file.flush()
        os.fsync(file.fileno())
    return digest(device)


def differences(files: Any, target: Path, fs: str) -> str:
    """Say which of `files` (name and digest) is not at `target` as it was written; empty: none."""
    wrong = []
    for name, expected in list(files):
        path = target / name if fs else target
        try:
            if digest(path) != expected:
                wrong.append(f"{name} has other bytes")
        except OSError as error:
            wrong.append(f"{name}: {error}")
    return ", ".join(wrong)
