"""Reading `try` and `with`: what is caught, and on which releases a handler runs."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit.reading import fields
from meshcompat.audit.reading.branches import Branches
from meshcompat.audit.reading.scope import last_name
from meshcompat.audit.releases import NONE, Releases
from meshcompat.audit.sites import Frame, Role
from meshcompat.audit.values import UNKNOWN, Kind, Value

if TYPE_CHECKING:
    from meshcompat.audit.reading.registry import Layer


class Handlers(Branches):
    """Statements that catch exceptions."""

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        caught: set[str] = set()
        for item in node.items:
            value = self.value(item.context_expr)
            caught |= self._suppressed(item.context_expr)
            if item.optional_vars is not None:
                is_kept = value.kind is Kind.MESH or fields.is_of_other(value)
                self.target(item.optional_vars, value if is_kept else UNKNOWN)
        if not caught:
            self.body(node.body)
            return
        frame = Frame(frozenset(caught), node)
        live = self.live
        self.frames.append(frame)
        self.body(node.body)
        self.frames.pop()
        self.live, self.goes_on = live, True

    _With = _with

    _AsyncWith = _with

    def _suppressed(self, node: ast.expr) -> set[str]:
        is_one = isinstance(node, ast.Call) and last_name(node.func) in {
            "suppress",
            "raises",
            "assertRaises",
            "assertRaisesRegex",
        }
        if not is_one or not isinstance(node, ast.Call):
            return set()
        return {name for argument in node.args for name in exception_names(argument)}

    def _Try(self, node: ast.Try) -> None:
        caught = [exception_names(handler.type) for handler in node.handlers]
        frame = Frame(frozenset().union(*caught) if caught else frozenset(), node)
        live = self.live
        self.frames.append(frame)

        def tried() -> None:
            self.body(node.body)
            self.frames.pop()
            self.body(node.orelse)

        ways = [self.branch(node, tried, live)]
        taken: Releases = NONE
        for handler, names in zip(node.handlers, caught, strict=True):
            failing = frame.failing(frozenset(names)) - taken
            said_where = frame.says(frozenset(names))
            taken |= failing
            ways.append(
                self._handled(
                    handler,
                    names,
                    frame,
                    failing if said_where else self._unsaid(frame, live, names),
                )
            )
        self.merge(ways)
        if not self.goes_on and node.finalbody:
            self.branch(node, lambda: self.body(node.finalbody), live)
            return
        self.body(node.finalbody)

    _TryStar = _Try

    def _unsaid(self, frame: Frame, live: Releases, names: frozenset[str]) -> Releases:
        """Return where a handler runs if nothing in the body is known to raise what it catches."""
        imports_only = names <= {"ImportError", "ModuleNotFoundError"}
        return NONE if imports_only and frame.asked_imports else live

    def _handled(
        self, handler: ast.ExceptHandler, names: frozenset[str], frame: Frame, live: Releases
    ) -> tuple[Layer, Releases, bool]:
        sure = frame.touched

        def read() -> None:
            if handler.name:
                self.bind(handler.name, Value(Kind.INSTANCE, "exception", sure))
            if "UnboundLocalError" in names and sure is not None and handler.type is not None:
                span = self.source.span(handler.type)
                self.emit(
                    Role.ERROR_TYPE,
                    "",
                    "UnboundLocalError",
                    span,
                    handler,
                    UNKNOWN,
                    confidence=sure,
                )
            self.body(handler.body)

        return self.branch(frame.statement, read, live)


def exception_names(node: ast.expr | None) -> frozenset[str]:
    """Return the names of the exceptions that a handler catches; a bare one catches all."""
    if node is None:
        return frozenset({"BaseException"})
    parts = node.elts if isinstance(node, (ast.Tuple, ast.List)) else [node]
    return frozenset(last_name(part) for part in parts if last_name(part))
