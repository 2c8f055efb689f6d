"""An install years later: an index that offers a newer release of everything changes nothing.

The index is a server of our own. It has a small wheel for each package of the real lock file, with
the real one's dependencies and extras, once as locked and once much newer.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from packaging.markers import default_environment
from packaging.utils import canonicalize_name

from tests.unit.tools import locked
from tests.unit.tools.locked import Pin
from tools import packages

NEWER = "9999.0"
HERE = {name: str(value) for name, value in default_environment().items()}


def wheel(folder: Path, name: str, version: str, requires: list[str]) -> Path:
    """A package of one empty module."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    wants = "".join(f"Requires-Dist: {one}\n" for one in requires)
    extras = "".join(f"Provides-Extra: {one}\n" for one in extras_of(name))
    files = {
        f"{name.replace('-', '_')}_module.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}{wants}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{sealed(text)},{len(text)}\n" for path, text in files.items())
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(each, text)
    return path


def sealed(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def extras_of(name: str) -> list[str]:
    return importlib.metadata.metadata(name).get_all("Provides-Extra") or []


class Index:
    """What there is, and what was asked for."""

    def __init__(self, folder: Path, pins: list[Pin]) -> None:
        self.asked: list[str] = []
        self.files: dict[str, list[Path]] = {}
        for pin in pins:
            requires = importlib.metadata.requires(pin.name) or []
            versions = (pin.version, NEWER)
            self.files[pin.name] = [wheel(folder, pin.name, each, requires) for each in versions]

    def lock(self, to: Path, pins: list[Pin]) -> Path:
        """As the real one, with the hashes of these wheels."""
        for pin in pins:
            digest = hashlib.sha256(self.files[pin.name][0].read_bytes()).hexdigest()
            marker = f" ; {pin.marker}" if pin.marker else ""
            with to.open("a") as file:
                file.write(f"{pin.name}=={pin.version}{marker} \\\n    --hash=sha256:{digest}\n")
        return to

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        kind, name, *_ = path.strip("/").split("/")
        if kind == "simple" and (files := self.files.get(name)):
            return "".join(f'<a href="/file/{one.name}">{one.name}</a>' for one in files).encode()
        held = {one.name: one for files in self.files.values() for one in files}
        return held[name].read_bytes() if kind == "file" and name in held else None


@pytest.fixture
def pins() -> list[Pin]:
    return [pin for pin in locked.pins(packages.DEVELOPMENT).values() if pin.applies(HERE)]


@pytest.fixture
def index(tmp_path: Path, pins: list[Pin], monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index(tmp_path, pins)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = index.answer(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield index
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_newer_releases_change_nothing(
    index: Index, pins: list[Pin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "CACHE", tmp_path / "cache")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    lock = index.lock(tmp_path / "requirements.lock", pins)
    packages.install(tmp_path / "venv/bin/python", lock)
    library = next((tmp_path / "venv/lib").glob("python3.*/site-packages"))
    found: dict[str, str] = {
        str(canonicalize_name(one.name)): one.version
        for one in importlib.metadata.distributions(path=[str(library)])
    }
    expected = {pin.name: pin.version for pin in pins}
    assert {name: found.get(name) for name in expected} == expected
    pages = {f"/simple/{name}/" for name in expected}
    files = {f"/file/{index.files[name][0].name}" for name in expected}
    assert set(index.asked) == pages | files, "no other question to the index"
