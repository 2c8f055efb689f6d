"""What happened in the cluster, from everybody's own log, in one order of time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tests.e2e.cluster import RUN, Kube
from tests.e2e.release import NODES, SPACE

ACTORS: Final = {
    "admin": "kubectl",
    "system:kube-scheduler": "scheduler",
    "system:serviceaccount:kube-system:persistent-volume-binder": "volume binder",
    "system:serviceaccount:kube-system:attachdetach-controller": "attach-detach",
    "system:serviceaccount:kube-system:pv-protection-controller": "protection",
    "system:serviceaccount:kube-system:pvc-protection-controller": "protection",
}
_CALL: Final = re.compile(
    r"(?P<at>\S+) \w+ +(?P<call>[A-Z]\w+) (?P<code>[A-Z]\w+) (?P<ms>[\d.]+) ms(?P<facts>.*)"
)
_RUNTIME: Final = re.compile(r'time="(?P<at>[^"]+)" level=info msg="(?P<text>(?:[^"\\]|\\.)*)"')
_QUIET: Final = {"Probe", "GetCapacity", "NodeGetCapabilities", "ListVolumes", "NodeGetVolumeStats"}


@dataclass(frozen=True, slots=True, order=True)
class Happening:
    at: datetime
    actor: str
    what: str


def since(kube: Kube, begin: datetime, names: set[str], node: str) -> list[Happening]:
    """Everything about objects, sandboxes and volumes of these names, from `begin` on, without
    what somebody repeats.
    """
    return _without_repeats(everything_since(kube, begin, names, node))


def everything_since(kube: Kube, begin: datetime, names: set[str], node: str) -> list[Happening]:
    """Everything about objects, sandboxes and volumes of these names, from `begin` on."""
    sources = (_objects(names), _calls(kube), _runtime(node, names))
    return sorted(one for source in sources for one in source if one.at >= begin)


def _objects(names: set[str]) -> Iterator[Happening]:
    """The API server's audit log: who changed what."""
    log = RUN / "log" / NODES[0] / "audit.log"
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        target = entry.get("objectRef", {})
        name = target.get("name", "")
        wanted = name in names or target["resource"] in {"persistentvolumes", "volumeattachments"}
        if wanted and entry.get("responseStatus", {}).get("code", 0) < 400:
            resource = "/".join(filter(None, [target["resource"], target.get("subresource")]))
            what = f"{entry['verb']} {resource} {_short(name)}".rstrip()
            yield Happening(_time(entry["requestReceivedTimestamp"]), _actor(entry), what)


def _actor(entry: Any) -> str:
    user = str(entry["user"]["username"])
    if user.startswith("system:node:"):
        return f"kubelet {user.rpartition(':')[2]}"
    if user.startswith(f"system:serviceaccount:{SPACE}:"):
        return str(entry.get("userAgent", "")).partition("/")[0] or "sidecar"
    return ACTORS.get(user, user.rpartition(":")[2])


def _calls(kube: Kube) -> Iterator[Happening]:
    """What the router and the nodes were asked by gRPC."""
    for pod in kube.every("pods", SPACE):
        part = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        actor = "cellar route" if part == "controller" else f"cellar {pod['spec']['nodeName']}"
        text = kube("-n", SPACE, "logs", pod["metadata"]["name"], "-c", "cellar", "--tail=400")
        for line in text.splitlines():
            if (found := _CALL.match(line)) and found["call"] not in _QUIET:
                volume = re.search(r"volume_id=(\S+)", found["facts"])
                about = f" {_short(volume[1])}" if volume else ""
                what = f"{found['call']}{about}: {found['code']}, {found['ms']} ms"
                yield Happening(_time(found["at"]), actor, what)


def _runtime(node: str, names: set[str]) -> Iterator[Happening]:
    """What kubelet asked of containerd by CRI, for sandboxes and containers of these pods."""
    known: set[str] = set()
    log = RUN / "log" / node / "containerd.log"
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if not (found := _RUNTIME.match(line)):
            continue
        text = found["text"].replace('\\"', '"')
        ids = set(re.findall(r"[0-9a-f]{64}", text))
        if any(f"Name:{name}," in text for name in names) or ids & known:
            known |= ids
            yield Happening(_time(found["at"]), f"containerd {node}", _told(text))


def _told(text: str) -> str:
    short = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1", text)
    short = re.sub(r"&\w+\{Name:([^,]+),[^}]*\}", r"\1", short)
    return short.replace('"', "")


def _without_repeats(found: list[Happening]) -> list[Happening]:
    """One line where somebody does the same thing several times in a row."""
    kept: list[Happening] = []
    for one in found:
        if not kept or (kept[-1].actor, kept[-1].what) != (one.actor, one.what):
            kept.append(one)
    return kept


def _short(name: str) -> str:
    """Ids and generated names, as far as people compare them."""
    shorten: Callable[[re.Match[str]], str] = lambda found: f"{found[0][:12]}…"  # noqa: E731
    return re.sub(r"[0-9a-f-]{30,}", shorten, name)


def _time(text: str) -> datetime:
    """ISO 8601; containerd writes nanoseconds, which datetime does not know."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
