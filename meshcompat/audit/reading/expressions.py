"""Reading expressions: what their values are, and which sites they hold. Each is read once, in order."""

from __future__ import annotations

import ast
import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meshcompat.audit.reading import version_words
from meshcompat.audit.reading.targets import Targets
from meshcompat.audit.releases import ALL, NONE
from meshcompat.audit.values import (
    UNKNOWN,
    Constant,
    Kind,
    Value,
    compute,
    constant,
    instance,
    join,
    loosened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda left, right: left in right, ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
}  # fmt: skip
LARGEST = 10_000
"""Constants longer than this are not computed."""


class Expressions(Targets):
    """One method a kind of expression; kinds that say nothing are read part by part."""

    def value(self, node: ast.expr) -> Value:
        """Read an expression and return what is known of its value."""
        if self.is_callee and not isinstance(node, (ast.Name, ast.Attribute)):
            self.is_callee = False
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is None:
            self.parts(node)
            return UNKNOWN
        found: Value = method(node)
        return found

    def parts(self, node: ast.AST) -> None:
        """Read the expressions inside a node."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            elif not isinstance(
                child, (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
            ):
                self.parts(child)

    def _Constant(self, node: ast.Constant) -> Value:
        return constant(node.value)

    def _Name(self, node: ast.Name) -> Value:
        is_callee, self.is_callee = self.is_callee, False
        found = self.bound(node.id)
        if found is None:
            return self.with_hint(version_words.by_name(node.id), node)
        if found.kind is Kind.OBJECT and not found.name.startswith(("builtins.", "torch.")):
            found = self.followed(found, node.id)
        self._note_escape(found, is_callee=is_callee)
        is_made_here = found.kind is Kind.MESH and any(
            node.id in layer for layer in self.layers[self.outer :]
        )
        keeps = self.trusts_constants or is_made_here
        return self.with_hint(found if keeps else loosened(found), node)

    def _note_escape(self, found: Value, *, is_callee: bool) -> None:
        """Note that a function of the project is used otherwise than by a call, so that anyone may call it."""
        if found.kind is Kind.FUNCTION and not is_callee:
            found.data.escapes = True

    def followed(self, found: Value, spelled: str) -> Value:
        """Return what an imported name leads to; where its code is not in sight, what its name says."""
        if found.name.endswith(".TYPE_CHECKING"):
            return Value(truthy=NONE, falsy=ALL)
        target = self.registry.resolve(found.name)
        if target.kind is Kind.OBJECT and target.name not in self.registry.classes:
            said = version_words.by_name(spelled)
            if said.is_known or said.says_releases:
                return replace(said, name=target.name)
        if target.kind is Kind.OBJECT and found.says_releases:
            return replace(target, truthy=found.truthy, falsy=found.falsy)
        return target

    def _Attribute(self, node: ast.Attribute) -> Value:
        is_callee, self.is_callee = self.is_callee, False
        receiver = self.value(node.value)
        if isinstance(node.value, ast.Name) and receiver.kind in {Kind.INSTANCE, Kind.UNKNOWN}:
            kept = self.kept(f"{node.value.id}.{node.attr}")
            if kept is not None:
                return self.with_hint(kept, node)
        found = self.attribute(receiver, node.attr, node, self.source.attribute_span(node))
        self._note_escape(found, is_callee=is_callee)
        return self.with_hint(loosened(found), node)

    def _Tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        values = [self.value(part) for part in node.elts]
        if len(values) < LARGEST and all(value.kind is Kind.CONCRETE for value in values):
            return compute(
                lambda *parts: list(parts) if isinstance(node, ast.List) else parts, *values
            )
        return Value(
            Kind.SEQUENCE,
            data=tuple(values),
            truthy=ALL if values else NONE,
            falsy=NONE if values else ALL,
        )

    _List = _Tuple
    _Set = _Tuple

    def _Dict(self, node: ast.Dict) -> Value:
        values = [self.value(part) for part in [*node.keys, *node.values] if part is not None]
        meshes = [value for value in values if value.kind is Kind.MESH]
        return Value(Kind.CONTAINER, data=meshes[0]) if meshes else instance("builtins.dict")

    def _BoolOp(self, node: ast.BoolOp) -> Value:
        outer = self.live
        is_and = isinstance(node.op, ast.And)
        truthy, falsy = (ALL, NONE) if is_and else (NONE, ALL)
        best = UNKNOWN
        undo = []
        for part in node.values:
            value = self.value(part)
            if is_and:
                undo.append(self.narrow(part, value))
                truthy, falsy = truthy & value.truthy, falsy | value.falsy
                self.live &= value.truthy
            else:
                truthy, falsy = truthy | value.truthy, falsy & value.falsy
                self.live &= value.falsy
            best = value if part is node.values[0] else join(best, ALL, value, ALL)
        for names in undo:
            self.restore(names)
        self.live = outer
        if best.kind is Kind.CONCRETE or best.kind is Kind.UNKNOWN:
            return Value(truthy=truthy, falsy=falsy)
        return replace(best, truthy=truthy, falsy=falsy)

    def _UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return value.negated()
        return compute(operator.neg, value) if isinstance(node.op, ast.USub) else UNKNOWN

    def _BinOp(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        function = _ARITHMETIC.get(type(node.op))
        if function is None or left.kind is not Kind.CONCRETE or right.kind is not Kind.CONCRETE:
            return UNKNOWN
        if any(
            not isinstance(side.data, Constant) or _is_large(side.constant)
            for side in (left, right)
        ):
            return UNKNOWN
        if isinstance(node.op, ast.Mult) and any(
            isinstance(side.constant, int) and side.constant > 100 for side in (left, right)
        ):
            return UNKNOWN
        return compute(function, left, right)

    def _Compare(self, node: ast.Compare) -> Value:
        left = self.value(node.left)
        found = Value(truthy=ALL, falsy=NONE)
        for how, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            one = self._compared(left, how, right, node)
            found = Value(truthy=found.truthy & one.truthy, falsy=found.falsy | one.falsy)
            left = right
        return found

    def _compared(self, left: Value, how: ast.cmpop, right: Value, node: ast.Compare) -> Value:
        if left.kind is Kind.CONCRETE and right.kind is Kind.CONCRETE:
            found = compute(_COMPARE[type(how)], left, right)
            return found if self.trusts_constants else loosened(found)
        is_none = (
            right.kind is Kind.CONCRETE
            and isinstance(right.data, Constant)
            and right.data.value is None
        )
        if isinstance(how, (ast.Is, ast.Eq)) and is_none:
            return Value(truthy=left.falsy, falsy=left.truthy)
        if isinstance(how, (ast.IsNot, ast.NotEq)) and is_none:
            return Value(truthy=left.truthy, falsy=left.falsy)
        if isinstance(how, (ast.In, ast.NotIn)):
            asked = self.membership(left, right, node)
            return asked if isinstance(how, ast.In) else asked.negated()
        return UNKNOWN

    def _IfExp(self, node: ast.IfExp) -> Value:
        test = self.value(node.test)
        outer = self.live
        names = self.narrow(node.test, test)
        self.live = outer & test.truthy
        left, on_left = self.value(node.body), self.live
        self.restore(names)
        self.live = outer & test.falsy
        right, on_right = self.value(node.orelse), self.live
        self.live = outer
        return join(left, on_left or test.truthy, right, on_right or test.falsy)

    def _NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.value(node.value)
        if isinstance(node.target, ast.Name):
            self.bind(node.target.id, value)
        return value

    def _Await(self, node: ast.Await) -> Value:
        return self.value(node.value)

    def _Starred(self, node: ast.Starred) -> Value:
        self.value(node.value)
        return UNKNOWN

    def _Lambda(self, node: ast.Lambda) -> Value:
        frames, self.frames = self.frames, []
        self.layers.append({argument.arg: UNKNOWN for argument in _arguments(node.args)})
        self.value(node.body)
        self.layers.pop()
        self.frames = frames
        return instance("builtins.function")

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> Value:
        self.layers.append({})
        outer = self.live
        for generator in node.generators:
            items = self.value(generator.iter)
            if (
                items.kind is Kind.CONCRETE
                and not isinstance(node, ast.DictComp)
                and len(node.generators) == 1
            ):
                found = self._each(items, generator, node.elt)
                self.layers.pop()
                return found
            self.target(generator.target, self.element(items))
            for test in generator.ifs:
                self.live &= self.value(test).truthy
        if isinstance(node, ast.DictComp):
            self.value(node.key)
            found = self.value(node.value)
        else:
            found = self.value(node.elt)
        self.live = outer
        self.layers.pop()
        return Value(Kind.CONTAINER, data=found)

    def _each(self, items: Value, generator: ast.comprehension, item: ast.expr) -> Value:
        """Read a comprehension over values that are known, such as the parts of a version, item by item."""
        count = compute(len, items).common
        collect = self.collect
        found = []
        for index in range(min(count, 8) if isinstance(count, int) else 0):
            self.target(generator.target, self.item(items, index))
            for test in generator.ifs:
                self.value(test)
            found.append(self.value(item))
            self.collect = False
        self.collect = collect
        if found and len(found) == count and all(value.kind is Kind.CONCRETE for value in found):
            return compute(lambda *parts: list(parts), *found)
        if not found:
            self.target(generator.target, UNKNOWN)
            return Value(Kind.CONTAINER, data=self.value(item))
        return Value(Kind.CONTAINER, data=found[0])

    _ListComp = _comprehension
    _SetComp = _comprehension
    _GeneratorExp = _comprehension
    _DictComp = _comprehension

    def _JoinedStr(self, node: ast.JoinedStr) -> Value:
        self.parts(node)
        return UNKNOWN


def _is_large(value: Any) -> bool:
    return (isinstance(value, (str, bytes, tuple, list)) and len(value) > LARGEST) or (
        isinstance(value, int) and abs(value) > 1 << 64
    )


def _arguments(node: ast.arguments) -> list[ast.arg]:
    found = [*node.posonlyargs, *node.args, *node.kwonlyargs]
    return found + [argument for argument in (node.vararg, node.kwarg) if argument is not None]
