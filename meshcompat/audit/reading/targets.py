"""Giving values to names: targets of assignments, items of iterations, and what a test says of a name."""

from __future__ import annotations

import ast

from meshcompat.audit.reading import fields
from meshcompat.audit.reading.calls import Calls
from meshcompat.audit.reading.scope import last_name
from meshcompat.audit.releases import ALL
from meshcompat.audit.values import (
    UNKNOWN,
    Kind,
    Value,
    compute,
    join,
)


class Targets(Calls):
    """What a name holds after a statement."""

    def element(self, value: Value) -> Value:
        """Return what an iteration over a value gives."""
        if value.kind is Kind.CONTAINER:
            found: Value = value.data
            return found
        if value.kind is Kind.SEQUENCE and value.data:
            found = value.data[0]
            for other in value.data[1:]:
                found = join(found, ALL, other, ALL)
            return found
        return value if fields.is_of_other(value) else UNKNOWN

    def target(self, node: ast.expr, value: Value) -> None:
        """Give a value to the target of an assignment."""
        if isinstance(node, ast.Name):
            self.bind(node.id, value)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for index, part in enumerate(node.elts):
                self.target(part, self.item(value, index))
        elif isinstance(node, ast.Starred):
            self.target(node.value, UNKNOWN)
        elif isinstance(node, ast.Attribute):
            self.write_attribute(node, value)
        elif isinstance(node, ast.Subscript):
            self.write_item(node, value)

    def item(self, value: Value, index: int) -> Value:
        """Return the part of a value that goes to one of several targets."""
        if value.kind is Kind.SEQUENCE and index < len(value.data):
            found: Value = value.data[index]
            return found
        if value.kind is Kind.CONCRETE:
            return compute(lambda parts: parts[index], value)
        return self.element(value)

    def narrow(self, test: ast.expr, value: Value) -> dict[str, Value | None]:  # noqa: ARG002
        """Take up what a test says of a name, such as ``isinstance(x, DeviceMesh)``; return what it was before."""
        if (
            isinstance(test, ast.Call)
            and last_name(test.func) == "isinstance"
            and len(test.args) == 2
        ):
            name, wanted = test.args
            if isinstance(name, ast.Name):
                found = self.annotated(wanted)
                before = self.layers[-1].get(name.id)
                if found.is_known:
                    self.bind(name.id, found)
                    return {name.id: before}
        return {}

    def restore(self, names: dict[str, Value | None]) -> None:
        """Take back what `narrow` said."""
        for name, before in names.items():
            if before is None:
                self.layers[-1].pop(name, None)
            else:
                self.layers[-1][name] = before
