"""What is known of a project as a whole: its modules, classes and functions, across files."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.releases import ALL, NONE, Releases
from meshcompat.audit.values import UNKNOWN, Kind, Value, join, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.audit.source import Source

Layer = dict[str, Value]


@dataclass(eq=False)
class Function:
    """A function of the project."""

    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    source: Source
    layers: list[Layer]
    class_name: str = ""
    is_property: bool = False
    is_static: bool = False
    parameters: dict[str, Value] = field(default_factory=dict)
    """What callers in the project pass."""
    returns: Value | None = None
    completes: Releases = ALL
    """Releases on which a call comes back."""
    calls: Releases = NONE
    """Releases on which some call in the project is reached."""
    escapes: bool = False
    """Whether it is used otherwise than by a call."""

    @cached_property
    def size(self) -> int:
        """How many statements it has."""
        return sum(isinstance(part, ast.stmt) for part in ast.walk(self.node))


@dataclass(eq=False)
class Class:
    """A class of the project."""

    name: str
    bases: list[str]
    attributes: dict[str, Value] = field(default_factory=dict)
    methods: dict[str, Function] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    """Annotated names in order: the parameters of a dataclass."""


class Registry:
    """The modules of one project that have been read, and a way to read others when they are asked for."""

    def __init__(self, load: Callable[[str], None]) -> None:
        self._load = load
        self._asked: set[str] = set()
        self.module_names: set[str] = set()
        self.packages: set[str] = set()
        """Modules that are packages: they hand on what their modules define."""
        self.modules: dict[str, Layer] = {}
        self.ends: dict[str, Releases] = {}
        """Releases on which a module's import comes to its end."""
        self.classes: dict[str, Class] = {}
        self.functions: dict[str, Function] = {}
        self.inlined: dict[tuple[object, ...], Value] = {}

    def resolve(self, path: str, depth: int = 0) -> Value:
        """Return what an importable path leads to: project names are followed to where they are defined."""
        path = torch_names.canonical(path)
        if path.startswith("torch.") or depth > 20:
            return named(path)
        module, rest = self._module_of(path)
        if not module or not rest:
            return named(path)
        first, _, more = rest.partition(".")
        is_class = (
            first[0].isupper() and not first.isupper()
        )  # one about meshes is in a file that was read anyway
        if (
            module not in self.modules
            and module not in self._asked
            and (module in self.packages or not is_class)
        ):
            self._asked.add(module)
            self._load(module)
        value = self.modules.get(module, {}).get(first)
        if value is None:
            return named(path)
        if value.kind is Kind.OBJECT and value.name != f"{module}.{first}":
            followed = self.resolve(value.name + ("." + more if more else ""), depth + 1)
            return followed if more else _with_truth(followed, value)
        if not more:
            return value
        if value.kind is Kind.OBJECT:
            kept = self.class_attribute(value.name, more)
            is_kept = kept is not None and kept.kind is not Kind.FUNCTION
            return kept if kept is not None and is_kept else named(f"{value.name}.{more}")
        return UNKNOWN

    def _module_of(self, path: str) -> tuple[str, str]:
        head, rest = path, ""
        while head:
            if head in self.module_names:
                return head, rest
            head, _, last = head.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
        return "", path

    def is_mesh_class(self, path: str, depth: int = 0) -> bool:
        """Whether a class is torch's DeviceMesh or inherits from it."""
        if path == torch_names.MESH:
            return True
        found = self.classes.get(path)
        return (
            found is not None
            and depth < 10
            and any(self.is_mesh_class(base, depth + 1) for base in found.bases)
        )

    def lineage(self, path: str) -> list[Class]:
        """Return a class of the project and those of its bases that the project has."""
        found: list[Class] = []
        waiting = [path]
        while waiting and len(found) < 50:
            record = self.classes.get(waiting.pop(0))
            if record is not None and record not in found:
                found.append(record)
                waiting += record.bases
        return found

    def class_attribute(self, path: str, name: str) -> Value | None:
        """Return what a class of the project or its bases keep in an attribute, or None where nothing says so."""
        for record in self.lineage(path):
            if name in record.attributes:
                return record.attributes[name]
            method = record.methods.get(name)
            if method is not None and method.is_property:
                return method.returns or UNKNOWN
            if method is not None:
                return Value(Kind.FUNCTION, method.name, method, falsy=NONE)
        return None

    def learn_attribute(self, path: str, name: str, value: Value) -> None:
        """Note that a class keeps a value in an attribute."""
        record = self.classes.get(path)
        if record is not None:
            before = record.attributes.get(name)
            record.attributes[name] = value if before is None else join(before, ALL, value, ALL)

    def learn_parameter(self, function: Function, name: str, value: Value) -> None:
        """Note that a caller passes a value."""
        if value.kind in {Kind.MESH, Kind.INSTANCE, Kind.CONTAINER}:
            before = function.parameters.get(name)
            function.parameters[name] = value if before is None else join(before, ALL, value, ALL)


def _with_truth(value: Value, truth: Value) -> Value:
    if (
        value.kind is Kind.OBJECT
        and truth.says_releases
        and (truth.truthy, truth.falsy) != (ALL, NONE)
    ):
        return Value(value.kind, value.name, value.data, truth.truthy, truth.falsy)
    return value
