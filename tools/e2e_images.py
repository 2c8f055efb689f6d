"""Container images without a registry: a few files in one layer, as an archive for containerd."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools import e2e_parts
from tools.e2e_parts import BIN, E2E
from tools.shell import ROOT

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
CREATED = "2026-01-01T00:00:00Z"  # the same files give the same image
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SIDECARS = {
    "csi-provisioner": "v6.4.0",
    "csi-attacher": "v4.13.0",
    "csi-resizer": "v2.3.0",
    "csi-snapshotter": "v8.7.0",
    "snapshot-controller": "v8.7.0",
}
SNAPSHOT_CONTROLLER = (
    f"registry.k8s.io/sig-storage/snapshot-controller:{SIDECARS['snapshot-controller']}"
)
PAUSE = "registry.k8s.io/pause:3.10.1"  # as containerd is told
BUSYBOX = "localhost/busybox:e2e"
POSTGRES = "localhost/postgres:e2e"
HOST_PATH = "localhost/hostpathplugin:e2e"
REGISTRAR = "localhost/csi-node-driver-registrar:e2e"
SUITE = "registry.k8s.io/e2e-test-images"
SUITE_VERSIONS = "test/utils/image/manifest.go"  # of k8s.io/kubernetes
GNU = (
    *("base64", "basename", "bash", "blockdev", "cat", "chmod", "cp", "cut", "date", "dd", "df"),
    *("dirname", "echo", "grep", "head", "id", "ls", "mkdir", "mktemp", "mv", "od", "readlink"),
    *("rm", "sed", "seq", "sha256sum", "sleep", "sort", "stat", "sync", "tail", "test", "touch"),
    *("tr", "true", "uname", "wc", "awk"),
)

_TRIPLETS = ("x86_64-linux-gnu", "aarch64-linux-gnu")
_POSTGRES_FILES = ROOT / "tests/e2e/postgres"


@dataclass(frozen=True, kw_only=True)
class Image:
    name: str
    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)  # with their modes
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()


def archives() -> list[Path]:
    """Write all images that a cluster needs beside the project's own; their files."""
    pause = Image(name=PAUSE, files={"pause": BIN / "pause"}, entrypoint=["/pause"])
    sidecars = [_sidecar(name, version) for name, version in SIDECARS.items()]
    return _all_written([pause, _shell(BUSYBOX), _postgres(e2e_parts.postgres()), *sidecars])


def suite_archives() -> list[Path]:
    """The images of the External.Storage suite, or what does for them: it wants a shell and dd."""
    kubernetes = e2e_parts.KUBERNETES[e2e_parts.chosen()]
    source = e2e_parts.module(f"k8s.io/kubernetes@{kubernetes}") / SUITE_VERSIONS
    names = suite_names(source.read_text(encoding="utf-8"))
    agnhost = replace(_shell(names["Agnhost"]), entrypoint=["/agnhost"], command=["pause"])
    agnhost = replace(agnhost, files={**agnhost.files, "agnhost": BIN / "agnhost"})
    tested = [_gnu(names[name]) for name in ("Nginx", "GlibcDnsTesting")]
    return _all_written([agnhost, _shell(names["BusyBox"]), *tested])


def suite_names(source: str) -> dict[str, str]:
    """The names of the suite's images, with their versions, by what its source calls them.

    `source`: the text of SUITE_VERSIONS.
    """
    form = r'configs\[(\w+)\] *= Config\{list\.PromoterE2eRegistry, "([^"]+)", "([^"]+)"\}'
    return {name: f"{SUITE}/{image}:{tag}" for name, image, tag in re.findall(form, source)}


def peer_archives(folder: Path) -> list[Path]:
    """The images of csi-driver-host-path and of its registrar, whose programs are in `folder`."""
    tools = _gnu(HOST_PATH, ("mount", "umount", "losetup", "findmnt"))
    plugin = {**tools.files, "hostpathplugin": folder / "hostpathplugin"}
    name = "csi-node-driver-registrar"
    registrar = Image(name=REGISTRAR, files={name: folder / name}, entrypoint=[f"/{name}"])
    return _all_written([replace(tools, files=plugin, entrypoint=["/hostpathplugin"]), registrar])


def _shell(name: str) -> Image:
    program = E2E / "root/bin/busybox"
    listed = subprocess.check_output([program, "--list"], text=True).split()
    return Image(
        name=name,
        files={"bin/busybox": program},
        links={
            **{f"bin/{name}": "busybox" for name in listed if name != "busybox"},
            "usr/bin": "../bin",
        },
        folders={"tmp": 0o1777, "root": 0o700, "etc": 0o755, "usr": 0o755},
        command=["sh"],
    )


def _gnu(name: str, more: Sequence[str] = ()) -> Image:
    """The programs of this machine, with the libraries that they load. `more`: beside GNU."""
    found = [Path(path) for one in (*GNU, *more) if (path := shutil.which(one))]
    libraries = {path for one in found for path in _libraries(one)}
    return Image(
        name=name,
        files={str(path).lstrip("/"): path.resolve() for path in (*found, *sorted(libraries))},
        links={"bin/sh": "/usr/bin/bash"},
        folders={"tmp": 0o1777, "root": 0o700},
        command=["sh"],
    )


def _postgres(root: Path) -> Image:
    """PostgreSQL from the packages unpacked in `root`, to be used like the image of Docker Hub."""
    (home,) = (root / "usr/lib/postgresql").iterdir()
    programs = [home / "bin" / name for name in ("postgres", "initdb", "psql", "pg_isready")]
    share = root / "usr/share/postgresql" / home.name
    modules = [path for path in (home / "lib").glob("*.so") if "llvm" not in path.name]
    files = [*programs, *modules, *(path for path in share.rglob("*") if path.is_file())]
    shell = _shell(POSTGRES)
    return replace(
        shell,
        files={
            **shell.files,
            **{str(path.relative_to(root)): path.resolve() for path in files},
            **_loaded(programs, root),
            "etc/passwd": _POSTGRES_FILES / "passwd",
            "entrypoint.sh": _POSTGRES_FILES / "entrypoint.sh",
        },
        links={
            **shell.links,
            **{f"bin/{path.name}": f"/{path.relative_to(root)}" for path in programs},
        },
        folders={**shell.folders, "var/run/postgresql": 0o1777},
        entrypoint=["/entrypoint.sh"],
        command=["postgres"],
    )


def _loaded(programs: Sequence[Path], root: Path) -> dict[str, Path]:
    """The libraries and the loader of programs in `root`, from there, by their path in an image."""
    folders = [root / folder / triplet for folder in ("lib", "usr/lib") for triplet in _TRIPLETS]
    found = {path for program in programs for path in _libraries(program, folders)}
    files = {}
    for path in found:
        is_loader = path.name.startswith("ld-")  # ldd names the machine's own by its path
        own = [place / path.name for place in folders if (place / path.name).exists()]
        files[str(path).lstrip("/") if is_loader else f"lib/{path.name}"] = [*own, path][
            0
        ].resolve()
    return files


def _libraries(program: Path, folders: Sequence[Path] = ()) -> list[Path]:
    """What the loader would load, searching `folders` first."""
    path = {"LD_LIBRARY_PATH": ":".join(map(str, folders))} if folders else {}
    output = subprocess.run(
        ["ldd", program], capture_output=True, text=True, check=False, env=os.environ | path
    ).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", output)]


def _all_written(images: Sequence[Image]) -> list[Path]:
    folder = E2E / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return [_written(image, folder) for image in images]


def _sidecar(name: str, version: str) -> Image:
    return Image(
        name=f"registry.k8s.io/sig-storage/{name}:{version}",
        files={name: BIN / name},
        folders={"tmp": 0o1777},
        entrypoint=[f"/{name}"],
    )


def _written(image: Image, folder: Path) -> Path:
    file = folder / f"{image.name.replace('/', '_').replace(':', '_')}.tar"
    layer = _layer(image)
    difference = hashlib.sha256(layer).hexdigest()
    config = json.dumps(_config(image, difference)).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    listed = [{"Config": name, "RepoTags": [image.name], "Layers": [f"{difference}/layer.tar"]}]
    parts = {name: config, f"{difference}/layer.tar": layer}
    with tarfile.open(file, "w") as archive:
        for part, content in {**parts, "manifest.json": json.dumps(listed).encode()}.items():
            entry = tarfile.TarInfo(part)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


def _layer(image: Image) -> bytes:
    raw = io.BytesIO()
    folders = {str(Path(name).parent): 0o755 for name in [*image.files, *image.links]}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for name, mode in {**folders, **image.folders}.items():
            if name != ".":
                layer.addfile(_entry(name, tarfile.DIRTYPE, mode))
        for name, source in image.files.items():
            content = source.read_bytes()
            entry = _entry(name, tarfile.REGTYPE, 0o755)
            entry.size = len(content)
            layer.addfile(entry, io.BytesIO(content))
        for name, target in image.links.items():
            entry = _entry(name, tarfile.SYMTYPE, 0o777)
            entry.linkname = target
            layer.addfile(entry)
    return raw.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _config(image: Image, difference: str) -> dict[str, object]:
    machine = subprocess.check_output(["uname", "-m"], text=True).strip()
    return {
        "architecture": ARCHITECTURE[machine],
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": [PATH],
            "WorkingDir": "/",
            "Entrypoint": list(image.entrypoint) or None,
            "Cmd": list(image.command) or None,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{difference}"]},
        "history": [{"created": CREATED, "created_by": "tools.e2e_images"}],
    }
