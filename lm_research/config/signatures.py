"""What a class accepts, read from its source text without importing it.

Importing ``lm_research.models.lstm`` loads torch, which costs seconds; parsing its file costs a
millisecond. So ``_target_`` nodes are checked against the constructor's annotations while the
answer to a mistyped field is still instant.
"""

import ast
import importlib.util
import os
import typing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

from lm_research.config import types as config_types


class TargetError(Exception):
    """A ``_target_`` that names nothing."""


@dataclass(frozen=True)
class InstanceOf:
    """An argument that is itself an object: a node with its own ``_target_``."""

    path: str


@dataclass(frozen=True)
class Parameter:
    """One constructor argument; ``annotation`` is ``Any`` where the text does not say."""

    name: str
    annotation: Any
    required: bool


BUILTINS: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "list": list,
    "dict": dict,
    "Any": Any,
    "None": None,
}
SEQUENCES = {"list", "List", "Sequence", "Iterable", "tuple", "Tuple"}
MAPPINGS = {"dict", "Dict", "Mapping"}


@cache
def parameters(target: str) -> dict[str, Parameter]:
    """Constructor arguments of the class that ``target`` names, in order, without ``self``.

    Raises:
        TargetError: no such module or class; the message says which.
    """
    module, node = _find_class(target)
    init = _find_init(module, node)
    if init is None:
        return {}
    return dict(_arguments(init[0], init[1]))


def _arguments(module: "_Module", init: ast.FunctionDef) -> list[tuple[str, Parameter]]:
    args = [*init.args.posonlyargs, *init.args.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(args) - len(init.args.defaults))
    pairs = [
        *zip(args, [*defaults, *init.args.defaults][-len(args) :] if args else [], strict=True),
        *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True),
    ]
    return [
        (arg.arg, Parameter(arg.arg, module.annotation(arg.annotation), default is None))
        for arg, default in pairs
    ]


def _find_init(module: "_Module", node: ast.ClassDef) -> tuple["_Module", ast.FunctionDef] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return module, item
    for base in node.bases:  # an inherited constructor
        found = module.follow(ast.unparse(base))
        if found is not None:
            inherited = _find_init(*found)
            if inherited is not None:
                return inherited
    return None


def _find_class(target: str) -> tuple["_Module", ast.ClassDef]:
    module_path, _, name = target.rpartition(".")
    module = _load(module_path)
    if module is None:
        raise TargetError(f"there is no module `{module_path}`")
    found = module.find(name)
    if found is None:
        raise TargetError(f"module `{module_path}` has no class `{name}`")
    return found


@cache
def _load(path: str) -> "_Module | None":
    """The parsed module, located without importing any of its parents."""
    top, *rest = path.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = [Path(p) for p in spec.submodule_search_locations or []]
    if not rest and spec.origin and Path(spec.origin).is_file():  # not "frozen" or "built-in"
        return _Module(path, Path(spec.origin))
    for folder in folders:
        stem = folder.joinpath(*rest)
        for file in (stem / "__init__.py", stem.with_suffix(".py")):
            if os.path.isfile(file):  # a name too long for the disk is no file
                return _Module(path, file)
    return None


class _Module:
    """A parsed source file that can say what its names mean."""

    def __init__(self, path: str, file: Path) -> None:
        self.path = path
        self.package = path if file.name == "__init__.py" else path.rpartition(".")[0]
        self.tree = ast.parse(file.read_text(encoding="utf-8"))
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.imports = dict(self._imports())
        self.values = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def _imports(self) -> typing.Iterator[tuple[str, str]]:
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                source = self._absolute(node)
                for alias in node.names:
                    yield alias.asname or alias.name, f"{source}.{alias.name}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.asname or alias.name, alias.name

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")
        base = parts[: len(parts) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])

    def find(self, name: str) -> "tuple[_Module, ast.ClassDef] | None":
        """A class defined here or imported here from elsewhere."""
        if name in self.classes:
            return self, self.classes[name]
        return self.follow(name)

    def follow(self, name: str) -> "tuple[_Module, ast.ClassDef] | None":
        """The class that a (dotted) name used in this file stands for."""
        head, _, tail = name.partition(".")
        if not tail and head in self.classes:
            return self, self.classes[head]
        full = self.imports.get(head, head) + (f".{tail}" if tail else "")
        if full == f"{self.path}.{name}":
            return None
        module = _load(full.rpartition(".")[0]) if "." in full else None
        return module.find(full.rpartition(".")[2]) if module else None

    def annotation(self, node: ast.expr | None) -> Any:
        """The typing object that an annotation's text stands for; ``Any`` where unsure."""
        match node:
            case None:
                return Any
            case ast.Constant(value=None):
                return None
            case ast.Constant(value=str(text)):
                return self.annotation(ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return Union[self.annotation(left), self.annotation(right)]  # noqa: UP007
            case ast.Subscript(value=base, slice=inner):
                return self._subscript(ast.unparse(base).rpartition(".")[2], inner)
            case ast.Name() | ast.Attribute():
                return self._name(ast.unparse(node))
        return Any

    def _subscript(self, base: str, inner: ast.expr) -> Any:
        items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if base == "Literal":
            return Literal[tuple(ast.literal_eval(item) for item in items)]
        if base == "Optional":
            return Optional[self.annotation(items[0])]  # noqa: UP045
        if base == "Union":
            return Union[tuple(self.annotation(item) for item in items)]  # noqa: UP007
        if base == "Annotated":
            return self.annotation(items[0])
        if base in SEQUENCES:
            return list[self.annotation(items[0])]  # type: ignore[misc]
        if base in MAPPINGS:
            return dict[self.annotation(items[0]), self.annotation(items[1])]  # type: ignore[misc]
        return Any

    def _name(self, name: str) -> Any:
        if name in BUILTINS:
            return BUILTINS[name]
        full = self.imports.get(name, f"{self.path}.{name}")
        module_path, _, last = full.rpartition(".")
        if module_path == config_types.__name__:
            return getattr(config_types, last, Any)
        module = self if module_path == self.path else _load(module_path)
        if module is None or not full.startswith("lm_research."):
            return Any
        if last in module.classes:
            return Annotated[object, InstanceOf(full)]
        return module.annotation(module.values.get(last))
