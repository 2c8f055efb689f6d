"""What is made of charts/cellar: deploy/ and the README's table (`python -m tools.chart write`).

`python -m tools.chart` only brings in what its tests need.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tools import chart_schema, dashboard, e2e_parts, schemas
from tools.shell import ROOT, say

CHART: Final = ROOT / "charts/cellar"
SCHEMA: Final = CHART / "values.schema.json"
DEPLOY: Final = ROOT / "deploy"
NAMESPACE: Final = "cellar-system"
KUBERNETES: Final = f"{e2e_parts.NEWEST}.0"  # what is rendered for
SNAPSHOT_APIS: Final = ("snapshot.storage.k8s.io/v1", "groupsnapshot.storage.k8s.io/v1")
HEAD: Final = "# Rendered from charts/cellar by `make chart`: change it there.\n"
MARKS: Final = ("<!-- values -->\n", "<!-- end of values -->\n")
_WHOLE: Final = ("--set", "namespace.create=true")
_ALL: Final = ("--values", str(ROOT / "tests/chart/everything.yaml"))
_RENDERS: Final[dict[Path, tuple[Sequence[str], Sequence[str]]]] = {
    DEPLOY / "cellar.yaml": (_WHOLE, ()),
    DEPLOY / "cellar-with-snapshots.yaml": (_WHOLE, SNAPSHOT_APIS),
    ROOT / "tests/chart/everything.rendered.yaml": (_ALL, SNAPSHOT_APIS),
}
SHORT: Final = 60  # characters of a default that is shown


class Value(NamedTuple):
    key: str
    default: str
    text: str


def main() -> None:
    e2e_parts.chart_tools()
    schemas.write()
    if sys.argv[1:] == ["write"]:
        write()


def write() -> None:
    """What the chart says."""
    dashboard.write()
    SCHEMA.write_text(chart_schema.updated(SCHEMA.read_text(encoding="utf-8")), encoding="utf-8")
    for path, text in rendered().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    readme = CHART / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")
    say("deploy/ and the table in charts/cellar/README.md are as the chart says")


def rendered() -> dict[Path, str]:
    """The files of deploy/, and the render with all options that the tests keep."""
    return {path: HEAD + template(how, apis=apis) for path, (how, apis) in _RENDERS.items()}


def rendered_paths() -> list[Path]:
    """Without helm."""
    return list(_RENDERS)


def template(arguments: Sequence[str] = (), *, apis: Sequence[str] = ()) -> str:
    """What `helm install` would apply."""
    known = [f"--api-versions={api}" for api in apis]
    options = ["--namespace", NAMESPACE, "--kube-version", KUBERNETES]
    argv = [str(e2e_parts.BIN / "helm"), "template", "cellar", str(CHART), *options, *known]
    done = subprocess.run([*argv, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def with_table(readme: str) -> str:
    """The README with the values between its two marks."""
    before, _, rest = readme.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in values()]
    table = "\n".join(["| value | default | |", "|---|---|---|", *rows])
    return f"{before}{MARKS[0]}\n{table}\n\n{MARKS[1]}{after}"


def values() -> Iterator[Value]:
    """The values that have a comment of their own, in order."""
    source = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(source)
    above: list[str] = []  # the keys that the line is indented below
    comment = ""
    for line in source.splitlines():
        if match := re.match(r" *# (.*)", line):
            comment = match[1]
        elif match := re.match(r"( *)([A-Za-z]+):", line):
            above = [*above[: len(match[1]) // 2], match[2]]
            if comment:
                yield Value(".".join(above), _shown(_at(defaults, above)), comment)
            comment = ""
        else:
            comment = ""


def _at(tree: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        tree = tree[key]
    return tree


def _shown(default: object) -> str:
    text = json.dumps(default) if not isinstance(default, str) else default
    if not text or len(text) > SHORT:
        return "" if not text else "see `values.yaml`"
    return f"`{text}`"


if __name__ == "__main__":
    main()
