"""Reading what is written: to meshes, to torch's tables, and into what the project's classes keep."""

from __future__ import annotations

import ast

from meshcompat.audit import torch_names
from meshcompat.audit.reading.members import Members
from meshcompat.audit.releases import ALL, NONE
from meshcompat.audit.sites import Role
from meshcompat.audit.values import (
    UNKNOWN,
    Kind,
    Value,
)


class Writes(Members):
    """Assignments to attributes and items."""

    def write_attribute(self, node: ast.Attribute, value: Value) -> None:
        """Read an assignment to an attribute."""
        receiver = self.value(node.value)
        owner = self.owner_of(receiver)
        if isinstance(node.value, ast.Name):
            written = f"{node.value.id}.{node.attr}"
            self.layers[-1][written] = value  # what it is from here on, in this function
            self.provided[written] = self.provided.get(written, NONE) | self.live
        if owner in {
            torch_names.MESH,
            torch_names.RESOURCES,
            torch_names.ENVIRONMENT,
        } and torch_names.member(owner, node.attr):
            own = (
                receiver.kind is Kind.MESH
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            )
            if not own and (torch_names.is_private(node.attr) or owner != torch_names.MESH):
                known = torch_names.member(owner, node.attr)
                span = self.source.attribute_span(node)
                self.emit(Role.WRITE, owner, node.attr, span, node, receiver, known=known)
        if receiver.kind is Kind.INSTANCE or receiver.kind is Kind.OBJECT:
            self.registry.learn_attribute(receiver.name, node.attr, value)

    def write_item(self, node: ast.Subscript, value: Value) -> None:
        """Read an assignment to an item, or its removal."""
        self.value(node.slice)
        if isinstance(node.value, ast.Attribute):
            self.written_table(node.value, node, Role.WRITE)
        container = self.value(node.value)
        if container.kind is Kind.CONCRETE and isinstance(node.value, ast.Name):
            self.bind(node.value.id, UNKNOWN)
        if (
            value.kind is Kind.MESH
            and container.kind is Kind.INSTANCE
            and container.name == "builtins.dict"
        ):
            if isinstance(node.value, ast.Name):
                self.bind(node.value.id, Value(Kind.CONTAINER, data=value))
            elif isinstance(node.value, ast.Attribute):
                owner = self.value(node.value.value)
                if owner.kind is Kind.INSTANCE:
                    self.registry.learn_attribute(
                        owner.name, node.value.attr, Value(Kind.CONTAINER, data=value)
                    )

    def written_table(self, table: ast.Attribute, node: ast.AST, role: Role) -> None:
        """Note that one of torch's tables is changed; its own attribute is read by the caller."""
        collect, self.collect = self.collect, False
        receiver = self.value(table.value)
        self.collect = collect
        owner = self.owner_of(receiver)
        known = torch_names.member(owner, table.attr) if owner else None
        if known is None or not (torch_names.is_private(table.attr) or owner != torch_names.MESH):
            return
        if known.kind in {"method", "property", "function"} and known.kind == "method":
            return
        live = self.live
        if torch_names.on(known) != ALL and self._catches("AttributeError"):
            live = live & torch_names.on(known)
        span = self.source.attribute_span(table)
        self.emit(role, owner, table.attr, span, node, receiver, known=known, live=live)
