"""Reading attributes and items: of meshes, of torch's modules and tables, and of the project's own objects."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.reading import annotated, fields, version_words
from meshcompat.audit.reading.scope import Scope
from meshcompat.audit.releases import ALL, NONE
from meshcompat.audit.sites import Role
from meshcompat.audit.values import (
    UNKNOWN,
    Confidence,
    Kind,
    Mesh,
    Value,
    compute,
    constant,
    instance,
    mesh,
    named,
    per_release,
)

if TYPE_CHECKING:
    from meshcompat.api.table import Name
    from meshcompat.audit.source import Span

TENSOR = "torch.Tensor"
DTENSOR = "torch.distributed.tensor.DTensor"
MUTATORS = {
    "clear",
    "pop",
    "popitem",
    "update",
    "setdefault",
    "append",
    "extend",
    "insert",
    "remove",
    "sort",
    "reverse",
    "add",
    "discard",
}
_RELEASE_ATTRIBUTES = {"release", "major", "minor", "micro", "base_version", "public"}
_VERSION_PATHS = {
    "torch.__version__",
    "torch.version.__version__",
    "torch.torch_version.__version__",
}


class Members(Scope):
    """What an attribute or an item of a value is."""

    def value(self, node: ast.expr) -> Value:
        """Read an expression; `Expressions` does."""
        raise NotImplementedError

    def annotated(self, node: ast.expr | None) -> Value:
        """Return what an annotation says; annotations are not run, so they are no sites."""
        if node is None:
            return UNKNOWN
        return annotated.value_of(node, self._dotted, self.registry)

    def _dotted(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Name):
            found = self.bound(node.id) or UNKNOWN
            return self.registry.resolve(found.name) if found.kind is Kind.OBJECT else found
        if isinstance(node, ast.Attribute):
            owner = self._dotted(node.value)
            if owner.kind is Kind.OBJECT:
                return self.registry.resolve(f"{owner.name}.{node.attr}")
        return UNKNOWN

    def owner_of(self, receiver: Value) -> str:
        """Return the class or module of torch whose members a value has, or nothing."""
        if receiver.kind is Kind.MESH:
            return torch_names.MESH
        if receiver.kind is Kind.OBJECT and (
            receiver.name == "torch" or receiver.name.startswith("torch.")
        ):
            return receiver.name
        if receiver.kind is Kind.OBJECT and self.registry.is_mesh_class(receiver.name):
            return torch_names.MESH
        if receiver.kind is Kind.INSTANCE and receiver.name in {
            torch_names.LAYOUT, torch_names.FLAT_LAYOUT, torch_names.ENVIRONMENT,
        }:  # fmt: skip
            return receiver.name
        return ""

    def attribute(self, receiver: Value, name: str, node: ast.expr, span: Span) -> Value:
        """Read an attribute and return what it is."""
        owner = self.owner_of(receiver)
        if owner:
            return self._of_torch(receiver, owner, name, node, span)
        if receiver.kind is Kind.OBJECT:
            if name == "TYPE_CHECKING":
                return Value(truthy=NONE, falsy=ALL)
            return self.registry.resolve(f"{receiver.name}.{name}")
        if receiver.kind is Kind.INSTANCE:
            return self._of_instance(receiver, name)
        if receiver.kind is Kind.CONCRETE:
            if name in _RELEASE_ATTRIBUTES:
                return compute(lambda value: getattr(value, name), receiver)
            return Value(Kind.INSTANCE, "method", (receiver, name))
        if receiver.kind is Kind.UNKNOWN and name in torch_names.distinctive():
            self._guessed(receiver, name, node, span)
        return (
            Value(Kind.INSTANCE, "method", (receiver, name))
            if receiver.kind is Kind.CONTAINER
            else UNKNOWN
        )

    def _of_torch(
        self, receiver: Value, owner: str, name: str, node: ast.expr, span: Span
    ) -> Value:
        path = f"{owner}.{name}"
        version = version_of(path)
        if version is not None:
            return version
        if owner in torch_names.REACHED_MODULES:
            found = torch_names.in_module(owner, name)
            if found is not None and torch_names.on(found) != ALL:
                releases = torch_names.on(found)
                caught = self.fail("AttributeError", ALL - releases)
                self.emit(Role.IMPORT, owner, name, span, node, receiver, known=found, is_caught=caught,
                          live=self._before("AttributeError", caught, ALL - releases))  # fmt: skip
            return named(torch_names.canonical(path))
        known = torch_names.member(owner, name)
        if known is not None:
            self._existence(receiver, owner, name, known, span, node)
        if owner == torch_names.MESH:
            self.touch()
            return _member_of_mesh(receiver, name)
        return Value(Kind.OBJECT, torch_names.canonical(path), receiver, falsy=NONE)

    def _existence(  # noqa: PLR0917  (as `emit`)
        self, receiver: Value, owner: str, name: str, known: Name, span: Span, node: ast.AST
    ) -> None:
        releases = torch_names.on(known)
        missing = ALL - releases
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            missing -= self.provided.get(f"{node.value.id}.{name}", NONE)
        before = self.live & (releases | missing)
        caught = bool(missing) and self.fail("AttributeError", missing)
        if releases != ALL or torch_names.warns_on(known):
            self.emit(
                Role.ATTRIBUTE,
                owner,
                name,
                span,
                node,
                receiver,
                known=known,
                is_caught=caught,
                live=before,
            )

    def _before(self, error: str, caught: bool, missing: frozenset[str]) -> frozenset[str]:
        """Return the releases that got here before a failure narrowed them."""
        if not caught:
            return self.live
        return self.live | next(
            (frame.fails[error] & missing for frame in reversed(self.frames) if frame.takes(error)),
            NONE,
        )

    def _catches(self, error: str) -> bool:
        return any(frame.takes(error) for frame in self.frames)

    def _guessed(self, receiver: Value, name: str, node: ast.expr, span: Span) -> None:
        for owner in (torch_names.MESH, torch_names.ENVIRONMENT):
            known = torch_names.member(owner, name)
            if known is not None:
                caught = self._catches("AttributeError")
                self.emit(Role.ATTRIBUTE, owner, name, span, node, receiver, known=known, is_caught=caught,
                          confidence=Confidence.LOW)  # fmt: skip
                return

    def _of_instance(self, receiver: Value, name: str) -> Value:
        if receiver.name == TENSOR and receiver.data is not None:
            return Value(Kind.INSTANCE, "method of ranks", (receiver, name))
        if receiver.name == DTENSOR and name in {"redistribute", "full_tensor"}:
            return Value(Kind.INSTANCE, "method of a DTensor", (receiver, name))
        if receiver.name == "inspect.Signature" and name == "parameters":
            return receiver
        if receiver.name == "exception":
            return Value(Kind.INSTANCE, "exception text", receiver.data)
        found = self.registry.class_attribute(receiver.name, name)
        if found is not None:
            return found
        if fields.is_of_other(receiver):
            return receiver
        if receiver.name.startswith("torch.") and name == "device_mesh":
            return mesh(Confidence.HIGH)
        return UNKNOWN

    def asked(self, receiver: Value, name: str) -> Value:
        """Return the truth of ``hasattr(receiver, name)``."""
        owner = self.owner_of(receiver)
        known = torch_names.member(owner, name) if owner else None
        if owner in torch_names.REACHED_MODULES:
            known = torch_names.in_module(owner, name)
        if known is None and receiver.kind is Kind.UNKNOWN and name in torch_names.distinctive():
            known = torch_names.member(torch_names.MESH, name) or torch_names.member(
                torch_names.ENVIRONMENT, name
            )
        if known is None:
            return UNKNOWN
        return Value(truthy=torch_names.on(known), falsy=ALL - torch_names.on(known))

    def membership(self, left: Value, right: Value, node: ast.Compare) -> Value:
        """Return the truth of ``left in right``."""
        word = left.constant
        asked = node.comparators[-1]
        if (
            isinstance(word, str)
            and isinstance(asked, ast.Attribute)
            and asked.attr == "mesh_dim_names"
        ):
            self.emit(
                Role.DIM_TEST,
                torch_names.MESH,
                word,
                self.source.span(node),
                node,
                right,
                names=(word,),
            )
        if right.kind is not Kind.INSTANCE or not isinstance(word, str):
            return UNKNOWN
        if right.name == "inspect.Signature" and isinstance(right.data, str):
            releases = torch_names.parameter_releases(right.data, word)
            return UNKNOWN if releases is None else Value(truthy=releases, falsy=ALL - releases)
        if right.name == "builtins.dir" and isinstance(right.data, Value):
            return self.asked(right.data, word)
        if right.name == "exception text" and right.data:
            self.emit(
                Role.ERROR_TEXT,
                "",
                word,
                self.source.span(node),
                node,
                right,
                confidence=right.data,
            )
        return UNKNOWN


def _member_of_mesh(receiver: Value, name: str) -> Value:
    """Return what an attribute of a mesh is; a method keeps its mesh in `data`."""
    confidence = receiver.data.confidence if isinstance(receiver.data, Mesh) else Confidence.HIGH
    if name == "mesh":
        return instance_of_ranks(receiver)
    if name in {"_root_mesh", "_parent_mesh"}:
        return mesh(confidence)
    if name == "_layout":
        return instance(torch_names.LAYOUT)
    if name == "_flatten_mapping":
        return Value(Kind.CONTAINER, data=mesh(confidence, is_flat=True))
    if (
        name in {"mesh_dim_names", "_mesh_dim_names"}
        and isinstance(receiver.data, Mesh)
        and receiver.data.dims
    ):
        return Value(Kind.SEQUENCE, data=tuple(map(constant, receiver.data.dims)), falsy=NONE)
    return Value(Kind.OBJECT, f"{torch_names.MESH}.{name}", receiver, falsy=NONE)


def version_of(path: str) -> Value | None:
    """Return what torch's version is on each release, or None for another path."""
    if path not in _VERSION_PATHS:
        return None
    as_torch = version_words.TorchVersion if path == "torch.__version__" else str
    return per_release({release: as_torch(release) for release in ALL})


def instance_of_ranks(receiver: Value) -> Value:
    """Return the tensor of a mesh's ranks."""
    return Value(Kind.INSTANCE, TENSOR, receiver, falsy=NONE)
