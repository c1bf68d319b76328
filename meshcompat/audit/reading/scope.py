"""Where the reading stands: names in sight, releases that get here, and handlers around."""

from __future__ import annotations

import ast
import builtins
import re
from typing import TYPE_CHECKING, Any

from meshcompat.audit.releases import ALL, NONE, Releases
from meshcompat.audit.sites import Arm, Frame, Role, Site
from meshcompat.audit.values import Confidence, Kind, Value, mesh, named

if TYPE_CHECKING:
    from meshcompat.audit.reading.registry import Function, Layer, Registry
    from meshcompat.audit.source import Source, Span

_MESH_NAME = re.compile(r"(.*_)?(device_?)?mesh(es)?(_?\d+d?)?", re.IGNORECASE)
_MESH_MAKER = re.compile(
    r"_*(get|build|create|make|init|initialize|setup|construct)_(.*_)?mesh", re.IGNORECASE
)
_BUILTINS = frozenset(dir(builtins))


class Scope:
    """The state of reading one file; `Expressions` and `Statements` move it."""

    def __init__(self, source: Source, registry: Registry, *, collect: bool) -> None:
        self.source = source
        self.registry = registry
        self.collect = collect
        self.sites: list[Site] = []
        self.layers: list[Layer] = [registry.modules.setdefault(source.module, {})]
        self.live: Releases = ALL
        self.entry: Releases = ALL
        self.frames: list[Frame] = []
        self.function: Function | None = None
        self.class_name = ""
        self.in_raise = 0
        self.arms: list[Arm] = []
        self.provided: dict[str, Releases] = {}
        """Attributes that this function has written, and where it did: a read after that does not fail."""
        self.deferred: list[tuple[Function, Releases]] = []

    trusts_constants = False
    """Whether names hold the constants of one call, so that they decide which way it goes."""

    is_callee = False
    """Whether the expression that is read next is what a call calls."""
    outer = 1
    """How many layers are of the module and of functions around this one."""

    def bind(self, name: str, value: Value) -> None:
        """Give a name a value, in the innermost layer."""
        self.layers[-1][name] = value

    def bound(self, name: str) -> Value | None:
        """Return the value of a name in sight, or None."""
        for layer in reversed(self.layers):
            if name in layer:
                return layer[name]
        return named(f"builtins.{name}") if name in _BUILTINS else None

    def kept(self, dotted: str) -> Value | None:
        """Return what this function put into an attribute, or None."""
        found = (layer[dotted] for layer in reversed(self.layers[self.outer :]) if dotted in layer)
        value = next(found, None)
        return value if value is not None and value.kind is Kind.MESH else None

    def with_hint(self, value: Value, node: ast.expr) -> Value:
        """Return a mesh where nothing is known of a value but its name says that it is one."""
        says_nothing = value.kind is Kind.UNKNOWN or (
            value.kind is Kind.CONCRETE and value.constant is None
        )
        if says_nothing and self.source.tells_of_torch and hints_at_mesh(node):
            found = mesh(Confidence.MEDIUM, identity=ast.unparse(node))
            is_plural = last_name(node).lower().rstrip("_0123456789").endswith("meshes")
            return Value(Kind.CONTAINER, data=found) if is_plural else found
        return value

    def emit(  # noqa: PLR0917  (a site has these parts)
        self,
        role: Role,
        owner: str,
        name: str,
        span: Span,
        node: ast.AST,
        receiver: Value,
        **facts: Any,
    ) -> None:
        """Note a site."""
        if not self.collect or not facts.get("live", self.live):
            return
        confidence = facts.pop("confidence", None) or confidence_of(receiver)
        function = self.function.name if self.function else ""
        self.sites.append(
            Site(
                source=self.source,
                role=role,
                owner=owner,
                name=name,
                span=span,
                node=node,
                receiver=receiver,
                confidence=confidence,
                live=facts.pop("live", self.live),
                function=function,
                class_name=self.class_name,
                in_raise=bool(self.in_raise),
                guards=ALL - self.live,
                arms=tuple(self.arms),
                **facts,
            )
        )

    def fail(self, error: str, releases: Releases) -> bool:
        """Note that an exception is raised on some releases; return whether a handler catches it."""
        failing = self.live & releases
        for frame in reversed(self.frames):
            if frame.takes(error):
                frame.fails[error] = frame.fails.get(error, NONE) | failing
                self.live -= failing
                return True
        return False

    def touch(self, sure: Confidence = Confidence.HIGH) -> None:
        """Note that a mesh is used here, so that what is caught may be torch's error about it."""
        for frame in self.frames:
            frame.touched = max(frame.touched or sure, sure)


def hints_at_mesh(node: ast.expr) -> bool:
    """Whether an expression's own name says that it is a mesh."""
    while isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Name):
        return _is_mesh_name(node.id)
    if isinstance(node, ast.Attribute):
        return _is_mesh_name(node.attr)
    if isinstance(node, ast.Subscript):
        if (
            isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
            and _is_mesh_name(node.slice.value)
        ):
            return True
        return hints_at_mesh(node.value) and not isinstance(node.slice, ast.Slice)
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        return _MESH_MAKER.fullmatch(name) is not None or name == "get_device_mesh"
    return False


def _is_mesh_name(name: str) -> bool:
    return _MESH_NAME.fullmatch(name) is not None


def last_name(node: ast.expr) -> str:
    """Return the last part of a name or dotted name, or nothing."""
    return (
        node.id
        if isinstance(node, ast.Name)
        else node.attr
        if isinstance(node, ast.Attribute)
        else ""
    )


def confidence_of(receiver: Value) -> Confidence:
    """Return how sure it is that a receiver is torch's."""
    if receiver.kind is Kind.MESH:
        found: Confidence = receiver.data.confidence
        return found
    return Confidence.LOW if receiver.kind is Kind.UNKNOWN else Confidence.HIGH
