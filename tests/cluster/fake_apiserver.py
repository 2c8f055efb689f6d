"""A small API server: lists, watches with bookmarks and 410, resourceVersions, conflicts.

It knows no kinds: an object is JSON below a path. What a test wants to go wrong, it says.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Json = dict[str, Any]

TOKEN = "the-token"
COLLECTIONS = {
    *("nodes", "csinodes", "endpointslices", "secrets", "configmaps", "events"),
    "persistentvolumes",
}


@dataclass
class Change:
    version: int
    collection: str
    kind: str
    thing: Json


@dataclass
class FakeCluster:
    """The state, behind one lock; `changed` wakes the watches."""

    objects: dict[str, dict[str, Json]] = field(default_factory=dict)  # by collection and name
    changes: list[Change] = field(default_factory=list)
    version: int = 100
    oldest: int = 0  # a watch from before this is told 410
    generation: int = 0  # of watches: all older ones end
    refuse: str = ""  # a regular expression: METHOD PATH answers 503
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    watching: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, collection: str, name: str, **fields: Any) -> Json:
        """Create or replace, whatever was there."""
        with self.changed:
            before = self.objects.setdefault(collection, {}).get(name)
            metadata = {"name": name, "uid": f"uid-{self.version}", **fields.pop("metadata", {})}
            if before:
                metadata["uid"] = before["metadata"]["uid"]
            return self._keep(collection, {**fields, "metadata": metadata}, new=before is None)

    def remove(self, collection: str, name: str) -> None:
        with self.changed:
            gone = self.objects[collection].pop(name)
            self._tell(collection, "DELETED", gone)

    def bookmark(self) -> None:
        """To all watches, as the real one does it each minute."""
        with self.changed:
            self.version += 1
            thing = {"metadata": {"resourceVersion": str(self.version)}}
            self.changes.append(Change(self.version, "*", "BOOKMARK", thing))
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget what was: who watches from an old version has to list."""
        with self.changed:
            self.version += 1
            self.oldest = self.version

    def hang_up(self) -> None:
        """All watches end, as when the server restarts."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def error(self, code: int) -> None:
        """All watches are told so, inside the stream."""
        with self.changed:
            status = {"kind": "Status", "code": code, "message": "too old resource version"}
            self.version += 1
            self.changes.append(Change(self.version, "*", "ERROR", status))
            self.changed.notify_all()

    def _keep(self, collection: str, thing: Json, *, new: bool) -> Json:
        self.objects.setdefault(collection, {})[thing["metadata"]["name"]] = thing
        self._tell(collection, "ADDED" if new else "MODIFIED", thing)
        return thing

    def _tell(self, collection: str, kind: str, thing: Json) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        copied = json.loads(json.dumps(thing))
        self.changes.append(Change(self.version, collection, kind, copied))
        self.changed.notify_all()

    def create(self, collection: str, thing: Json) -> tuple[int, Json]:
        with self.changed:
            if thing["metadata"]["name"] in self.objects.get(collection, {}):
                return 409, _status(409, "already exists")
            thing["metadata"] |= {"uid": f"uid-{self.version}"}
            return 201, self._keep(collection, thing, new=True)

    def replace(self, collection: str, name: str, thing: Json) -> tuple[int, Json]:
        with self.changed:
            before = self.objects.get(collection, {}).get(name)
            if before is None:
                return 404, _status(404, f"{name} not found")
            if thing["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
                return 409, _status(409, "the object has been modified")
            return 200, self._keep(collection, thing, new=False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: FakeCluster

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url, generation = urlsplit(self.path), self.cluster.generation
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self._refused(url.path, watch=query.get("watch") == "true"):
            return
        if query.get("watch") == "true":
            self._watch(url.path, query, generation)
            return
        with self.cluster.changed:
            self._answer(*self._found(url.path, query))

    def do_POST(self) -> None:
        self._write(lambda thing: self.cluster.create(urlsplit(self.path).path, thing))

    def do_PUT(self) -> None:
        collection, _, name = urlsplit(self.path).path.rpartition("/")
        self._write(lambda thing: self.cluster.replace(collection, name, thing))

    def _write(self, work: Any) -> None:
        thing = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._refused(urlsplit(self.path).path):
            self._answer(*work(thing))

    def _refused(self, path: str, *, watch: bool = False) -> bool:
        line = f"{'WATCH' if watch else self.command} {path}"
        self.cluster.asked.append(line)
        self.cluster.tokens.add(self.headers.get("Authorization", ""))
        if not (self.cluster.refuse and re.search(self.cluster.refuse, line)):
            return False
        self._answer(503, _status(503, "the server is not able to answer now"))
        return True

    def _found(self, path: str, query: dict[str, str]) -> tuple[int, Json]:
        collection, _, name = path.rpartition("/")
        if (item := self.cluster.objects.get(collection, {}).get(name)) is not None:
            return 200, item
        if name in COLLECTIONS:
            items = self.cluster.objects.get(path, {}).values()
            chosen = [each for each in items if _matches(each, query)]
            metadata = {"resourceVersion": str(self.cluster.version)}
            start, most = int(query.get("continue", 0)), int(query.get("limit", len(chosen)))
            if start + most < len(chosen):
                metadata["continue"] = str(start + most)
            chosen = chosen[start : start + most]
            return 200, {"kind": "List", "metadata": metadata, "items": chosen}
        return 404, _status(404, f"{name} not found")

    def _watch(self, path: str, query: dict[str, str], generation: int) -> None:
        cluster, version = self.cluster, int(query["resourceVersion"])
        if version < cluster.oldest:
            self._answer(410, _status(410, "too old resource version"))
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        with cluster.changed:
            cluster.watching += 1
        try:
            while (events := self._next(path, query, version, generation)) is not None:
                for event in events:
                    version = event.version
                    self._chunk({"type": event.kind, "object": event.thing})
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # whoever watched has gone
        finally:
            with cluster.changed:
                cluster.watching -= 1

    def _next(
        self, path: str, query: dict[str, str], version: int, generation: int
    ) -> list[Change] | None:
        """Wait for news; None: the watch ends."""
        cluster = self.cluster
        with cluster.changed:
            while cluster.generation == generation:
                if found := [
                    change
                    for change in cluster.changes
                    if change.version > version
                    and (
                        change.collection == "*"
                        or (change.collection == path and _matches(change.thing, query))
                    )
                ]:
                    return found
                if not cluster.changed.wait(0.5) and self._left():
                    raise OSError
        return None

    def _left(self) -> bool:
        """Whether the client closed the connection: it would have nothing to say else."""
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1)
        except BlockingIOError:
            return False
        finally:
            self.connection.setblocking(True)

    def _chunk(self, event: Json) -> None:
        data = json.dumps(event).encode() + b"\n"
        half = len(data) // 2  # events do not come in whole packets
        for part in (data[:half], data[half:]):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()

    def _answer(self, code: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _status(code: int, text: str) -> Json:
    return {"kind": "Status", "code": code, "message": text}


def _matches(thing: Json, query: dict[str, str]) -> bool:
    key, _, value = query.get("labelSelector", "").partition("=")
    return not key or (thing["metadata"].get("labels") or {}).get(key) == value


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a kept connection has a thread that waits for the next request
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that went away in the middle is no news."""


@contextmanager
def api_server(folder: Path) -> Iterator[tuple[FakeCluster, Path]]:
    """The state, and a kubeconfig that leads to it, with TOKEN."""
    cluster = FakeCluster()
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield cluster, _kubeconfig(folder, server.server_port)
    finally:
        server.shutdown()
        cluster.hang_up()
        server.server_close()
        thread.join()


def _kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    server = {"server": f"http://127.0.0.1:{port}"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": server}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return path
