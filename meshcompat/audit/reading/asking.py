"""Reading `hasattr`, `getattr` and `setattr`: questions that guards ask, and names that stand in strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.reading.writes import Writes
from meshcompat.audit.releases import ALL
from meshcompat.audit.sites import Role
from meshcompat.audit.values import (
    UNKNOWN,
    Value,
)

if TYPE_CHECKING:
    import ast


class Asking(Writes):
    """The built-in functions that take a name."""

    def _call_hasattr(self, node: ast.Call) -> Value | None:
        receiver = self.value(node.args[0])
        name = self.value(node.args[1]).constant if len(node.args) == 2 else None
        return self.asked(receiver, name) if isinstance(name, str) else UNKNOWN

    def _call_getattr(self, node: ast.Call) -> Value | None:
        if len(node.args) < 2:
            return None
        name = self.value(node.args[1]).constant
        if not isinstance(name, str):
            self.value(node.args[0])
            return UNKNOWN
        receiver = self.value(node.args[0])
        if len(node.args) == 2:
            return self.attribute(receiver, name, node, self.source.span(node.args[1]))
        default = self.value(node.args[2])
        collect, self.collect = self.collect, False
        frames, self.frames = self.frames, []
        found = self.attribute(receiver, name, node, self.source.span(node.args[1]))
        self.collect, self.frames = collect, frames
        asked = self.asked(receiver, name)
        self._defaulted(receiver, name, node)
        return Value(
            found.kind,
            found.name,
            found.data,
            asked.truthy | default.truthy & asked.falsy,
            asked.falsy & default.falsy,
        )

    def _defaulted(self, receiver: Value, name: str, node: ast.Call) -> None:
        owner = self.owner_of(receiver)
        known = (
            torch_names.member(owner, name)
            if owner and owner not in torch_names.REACHED_MODULES
            else None
        )
        if known is not None and torch_names.on(known) != ALL:
            span = self.source.span(node.args[1])
            self.emit(
                Role.ATTRIBUTE, owner, name, span, node, receiver, known=known, is_caught=True
            )

    def _call_setattr(self, node: ast.Call) -> Value | None:
        if len(node.args) != 3:
            return None
        receiver, name = self.value(node.args[0]), self.value(node.args[1]).constant
        self.value(node.args[2])
        owner = self.owner_of(receiver)
        known = torch_names.member(owner, name) if owner and isinstance(name, str) else None
        if known is not None and torch_names.is_private(known.name.rpartition(".")[2]):
            self.emit(
                Role.WRITE,
                owner,
                str(name),
                self.source.span(node.args[1]),
                node,
                receiver,
                known=known,
            )
        return UNKNOWN
