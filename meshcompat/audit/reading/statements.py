"""Reading statements: in order, with the releases that reach them; branches are read apart and joined."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit.reading.handlers import Handlers
from meshcompat.audit.reading.scope import last_name
from meshcompat.audit.releases import ALL, Releases
from meshcompat.audit.values import UNKNOWN, Kind, Value, constant, join, loosened

if TYPE_CHECKING:
    from collections.abc import Callable


_ENDS = {"exit", "_exit", "abort", "skip", "fail", "skipTest", "xfail"}
"""Calls that do not come back, where they are of sys, os, pytest or a test case."""


class Statements(Handlers):
    """One method a kind of statement. `live` is empty after one that does not go on."""

    def _Expr(self, node: ast.Expr) -> None:
        self.value(node.value)
        if isinstance(node.value, ast.Call):
            self._completed(node.value)

    def _completed(self, node: ast.Call) -> None:
        name = last_name(node.func)
        if name in _ENDS and (
            isinstance(node.func, ast.Name)
            or last_name(getattr(node.func, "value", node)) in {"sys", "os", "pytest", "self"}
        ):
            self.stop()
            return
        found = self.bound(name) if isinstance(node.func, ast.Name) else None
        if found is not None and found.kind is Kind.OBJECT:
            found = self.registry.resolve(found.name)
        if (
            found is not None
            and found.kind is Kind.FUNCTION
            and not node.args
            and not node.keywords
        ):
            self.live &= found.data.completes

    def _Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.target(target, value)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        said = self.annotated(node.annotation)
        value = self.value(node.value) if node.value is not None else UNKNOWN
        if said.is_known and value.kind is not Kind.MESH:
            value = loosened(said)
        if node.value is not None or isinstance(node.target, ast.Name):
            self.target(node.target, value)
        if self.in_class_body and isinstance(node.target, ast.Name):
            self.registry.learn_attribute(self.class_name, node.target.id, value)

    in_class_body = False

    def _AugAssign(self, node: ast.AugAssign) -> None:
        self.value(node.value)
        if isinstance(node.target, ast.Attribute):
            self.write_attribute(node.target, UNKNOWN)
        elif isinstance(node.target, ast.Subscript):
            self.write_item(node.target, UNKNOWN)
        elif isinstance(node.target, ast.Name):
            self.bind(node.target.id, UNKNOWN)

    def _Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                self.write_attribute(target, UNKNOWN)
            elif isinstance(target, ast.Subscript):
                self.write_item(target, UNKNOWN)

    def _Return(self, node: ast.Return) -> None:
        value = self.value(node.value) if node.value is not None else constant(None)
        self.returned(value)
        self.stop()

    def returned(self, value: Value) -> None:
        """Note what the function gives back, on the releases that get here."""
        self.returns.append((value, self.live))

    returns: list[tuple[Value, Releases]]

    def _Raise(self, node: ast.Raise) -> None:
        self.in_raise += 1
        self.parts(node)
        self.in_raise -= 1
        self.stop()

    def _Break(self, node: ast.Break) -> None:  # noqa: ARG002
        self.stop()

    _Continue = _Break

    def _Assert(self, node: ast.Assert) -> None:
        test = self.value(node.test)
        if node.msg is not None:
            self.value(node.msg)
        self.narrow(node.test, test)
        self.live &= test.truthy

    def _If(self, node: ast.If) -> None:
        test = self.value(node.test)
        names: dict[str, Value | None] = {}

        def then() -> None:
            names.update(self.narrow(node.test, test))
            self.body(node.body)

        live = self.live
        ways = [
            self.branch(node, then, live & test.truthy),
            self.branch(node, lambda: self.body(node.orelse), live & test.falsy),
        ]
        for name in names:
            bound = ways[0][0]
            if name in bound and bound[name] == self.annotated(
                node.test.args[1] if isinstance(node.test, ast.Call) else None
            ):
                del bound[name]
        negative = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
        self.merge(ways)
        if negative and not ways[0][2] and isinstance(node.test, ast.UnaryOp):
            self.narrow(node.test.operand, test)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        if isinstance(node, ast.While):
            self.value(node.test)
        else:
            element = self.element(self.value(node.iter))
            self.target(node.target, self.with_hint(element, node.target))
        live = self.live
        way = self.branch(node, lambda: self.body(node.body), live)
        self.merge([(way[0], live, True), ({}, live, True)])
        self.body(node.orelse)

    _For = _loop
    _AsyncFor = _loop
    _While = _loop

    def _Match(self, node: ast.Match) -> None:
        self.value(node.subject)
        live = self.live
        ways = [self.branch(node, self._case(case), live) for case in node.cases]
        self.merge([*ways, ({}, live, True)])

    def _case(self, case: ast.match_case) -> Callable[[], None]:
        def read() -> None:
            if case.guard is not None:
                self.live &= self.value(case.guard).truthy
            self.body(case.body)

        return read

    def _Global(self, node: ast.Global) -> None:
        self.globals_here.update(node.names)

    globals_here: set[str]

    def bind(self, name: str, value: Value) -> None:
        """Give a name a value: in the module where it was declared global."""
        super().bind(name, value)
        if name in self.globals_here:
            module = self.layers[0]
            module[name] = join(module[name], ALL, value, ALL) if name in module else value
