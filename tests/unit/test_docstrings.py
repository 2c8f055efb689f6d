"""Public classes and functions say what they do, and which of our errors they raise.

The docstring of a port holds for the class that implements it, and is not repeated there.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import csi_proto.cellar_pb2_grpc
import csi_proto.csi_pb2_grpc
from driver.core import errors

DRIVER = Path("driver")
ERRORS = {name for name, kind in vars(errors).items() if inspect.isclass(kind)}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Public:
    """A public class or function of a module. `owner`: the class of a method."""

    where: str
    node: ast.ClassDef | Function
    owner: ast.ClassDef | None

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def arguments(self) -> list[str]:
        if isinstance(self.node, ast.ClassDef):
            return []
        args = self.node.args
        named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        return [arg.arg for arg in named if arg.arg not in {"self", "cls"}]


def definitions(path: Path) -> Iterator[Public]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield Public(f"{path}:{node.lineno} {node.name}", node, None)
            if isinstance(node, ast.ClassDef):
                yield from methods(path, node)


def methods(path: Path, owner: ast.ClassDef) -> Iterator[Public]:
    for node in owner.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield Public(f"{path}:{node.lineno} {owner.name}.{node.name}", node, owner)


class Classes:
    """The classes of `driver`, by name, and which of their methods a port describes."""

    def __init__(self) -> None:
        trees = [ast.parse(path.read_text()) for path in DRIVER.rglob("*.py")]
        every = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
        self._by_name = {node.name: node for node in every}
        ports = [node for node in every if "Protocol" in self._bases(node)]
        self._ports = [self._members(node) for node in ports]
        self.described = {
            (owner, method)
            for node in every
            if node not in ports
            for owner, method in self._described(node)
        }

    def _described(self, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
        """Yield the methods of a class, and of what it extends, that implement a port: the class
        has all that the port has, and the method takes arguments of the same names.
        """
        members = self._members(node)
        attributes = members.keys() | _own_attributes(node)
        for port in self._ports:
            if not port.keys() <= attributes:
                continue
            for name, method in port.items():
                owner, implementation = members.get(name, ("", None))
                if (
                    isinstance(method[1], Function)
                    and isinstance(implementation, Function)
                    and ast.get_docstring(method[1])
                    and _arguments(method[1]) == _arguments(implementation)
                ):
                    yield owner, name

    def _members(self, node: ast.ClassDef) -> dict[str, tuple[str, ast.AST | None]]:
        """Return the members of a class by name: which class has it, and its definition."""
        members: dict[str, tuple[str, ast.AST | None]] = {}
        for base in self._bases(node):
            if base in self._by_name:
                members |= self._members(self._by_name[base])
        for item in node.body:
            if isinstance(item, Function) and _is_overload(item) and not ast.get_docstring(item):
                continue  # the first one has it, for all of them
            if isinstance(item, Function) and not item.name.startswith("__"):
                members[item.name] = node.name, item
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                members[item.target.id] = node.name, None
        return members

    @staticmethod
    def _bases(node: ast.ClassDef) -> list[str]:
        return [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases]


def _own_attributes(node: ast.ClassDef) -> set[str]:
    """Return the names of the attributes of `self` that the class uses."""
    return {
        item.attr
        for item in ast.walk(node)
        if isinstance(item, ast.Attribute) and ast.unparse(item.value) == "self"
    }


def _arguments(function: Function) -> list[str]:
    """Return the names of the arguments; `_` in front says only that one is not used."""
    args = function.args
    return [arg.arg.lstrip("_") for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]]


def rpcs() -> set[str]:
    """The methods of the services: the specification describes them."""
    modules = (csi_proto.csi_pb2_grpc, csi_proto.cellar_pb2_grpc)
    servicers = [kind for module in modules for kind in vars(module).values()]
    return {name for kind in servicers if inspect.isclass(kind) for name in vars(kind)}


def raised(node: ast.ClassDef | Function) -> set[str]:
    """Names of our own errors that the function itself raises; not those that it may catch."""
    if isinstance(node, ast.ClassDef):
        return set()
    names: set[str] = set()
    nodes: list[ast.AST] = [*node.body]
    while nodes:
        here = nodes.pop()
        if isinstance(here, Function | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(here, ast.Try) and here.handlers:
            nodes.extend([*here.handlers, *here.orelse, *here.finalbody])
            continue
        if isinstance(here, ast.Raise) and isinstance(here.exc, ast.Call):
            names.add(ast.unparse(here.exc.func).rpartition(".")[2])
        nodes.extend(ast.iter_child_nodes(here))
    return names & ERRORS


@pytest.fixture(scope="module")
def public() -> list[Public]:
    return [found for path in sorted(DRIVER.rglob("*.py")) for found in definitions(path)]


def test_public_classes_and_functions_with_arguments_have_a_docstring(public: list[Public]) -> None:
    described, services = Classes().described, rpcs()
    missing = [
        item.where
        for item in public
        if not item.docstring
        and (isinstance(item.node, ast.ClassDef) or item.arguments or raised(item.node))
        and not (item.owner and item.node.name in services)
        and not (item.owner and (item.owner.name, item.node.name) in described)
        and not _is_overload(item.node)
    ]
    assert not missing, "\n".join(missing)


def test_a_docstring_names_the_errors_that_its_function_raises(public: list[Public]) -> None:
    unnamed = [
        f"{item.where}: {', '.join(sorted(names))}"
        for item in public
        if item.docstring
        and (names := {name for name in raised(item.node) if name not in item.docstring})
    ]
    assert not unnamed, "\n".join(unnamed)


def _is_overload(node: ast.ClassDef | Function) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


# In backticks, and not ours: functions and fields of the kernel.
OF_THE_KERNEL = {"ext4_setup_new_descs", "ext4_smallest_group", "sb_meta_uuid"}


def test_a_name_in_backticks_exists() -> None:
    """Renamed code leaves its old name in sentences, where no tool looks."""
    sources = [path.read_text() for path in DRIVER.rglob("*.py")]
    trees = [ast.parse(source) for source in sources]
    places = (ast.Module, ast.ClassDef, *Function.__args__)
    docstrings = [
        ast.get_docstring(node) or ""
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, places)
    ]
    code = "\n".join(re.sub(r'"""(?:.|\n)*?"""', "", source) for source in sources)
    messages = "\n".join(path.read_text() for path in Path("csi_proto").glob("*.proto"))
    known = set(re.findall(r"\w+", code + messages))
    named = {
        name.rpartition(".")[2]
        for docstring in docstrings
        for name in re.findall(r"`([A-Za-z_][\w.]*)(?:\(.*?\))?`", docstring)
    }
    assert len(named) > 100
    assert named - known <= OF_THE_KERNEL
