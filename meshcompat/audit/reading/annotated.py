"""What an annotation says of a value."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.values import UNKNOWN, Confidence, Kind, Value, instance, mesh, preference

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.audit.reading.registry import Registry

_TRANSPARENT = {
    "Optional",
    "Union",
    "Annotated",
    "Final",
    "ClassVar",
    "InitVar",
    "Required",
    "NotRequired",
}
_CONTAINERS = {
    "list", "List", "tuple", "Tuple", "set", "Set", "Sequence", "Iterable", "Iterator", "Collection", "frozenset",
    "Generator", "deque",
}  # fmt: skip
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict"}
_OPEN = {"Any", "object", "Self", "Callable", "TypeVar"}
"""Annotations that say nothing."""


def value_of(
    node: ast.expr, look_up: Callable[[ast.expr], Value], registry: Registry, depth: int = 0
) -> Value:
    """Return what an annotation says; `look_up` tells what a name or dotted name leads to."""
    if depth > 8:
        return UNKNOWN

    def again(part: ast.expr) -> Value:
        return value_of(part, look_up, registry, depth + 1)

    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return again(ast.parse(node.value.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _best([again(node.left), again(node.right)])
    if isinstance(node, ast.Subscript):
        return _generic(node, again)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _class(look_up(node), _last(node), registry)
    return UNKNOWN


def _generic(node: ast.Subscript, again: Callable[[ast.expr], Value]) -> Value:
    outer = _last(node.value)
    parts = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if outer in _TRANSPARENT:
        return _best([again(part) for part in (parts[:1] if outer == "Annotated" else parts)])
    if outer in {"tuple", "Tuple"} and not any(_is_dots(part) for part in parts):
        return Value(Kind.SEQUENCE, data=tuple(again(part) for part in parts))
    if outer in _CONTAINERS:
        return Value(Kind.CONTAINER, data=again(parts[0]))
    if outer in _MAPPINGS:
        return Value(Kind.CONTAINER, data=again(parts[-1]))
    if outer in {"type", "Type"}:
        return UNKNOWN
    return again(node.value)


def _class(found: Value, last: str, registry: Registry) -> Value:
    if found.kind is not Kind.OBJECT or last in _OPEN:
        return UNKNOWN
    if registry.is_mesh_class(found.name):
        return mesh(Confidence.HIGH)
    if found.name in {"builtins.None", "types.NoneType"}:
        return UNKNOWN
    return instance(torch_names.canonical(found.name))


def _best(values: list[Value]) -> Value:
    """Return the part of a union that says most: torch's mesh before others; None says nothing."""
    return max(values, key=preference)


def _last(node: ast.expr) -> str:
    return (
        node.id
        if isinstance(node, ast.Name)
        else node.attr
        if isinstance(node, ast.Attribute)
        else ""
    )


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...
