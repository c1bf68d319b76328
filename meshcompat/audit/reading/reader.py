"""Reading one file: functions and classes after the module around them, as Python runs them."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from meshcompat.audit.reading import version_words
from meshcompat.audit.reading.calls import parameters_of
from meshcompat.audit.reading.registry import Class, Function
from meshcompat.audit.reading.scope import last_name
from meshcompat.audit.reading.statements import Statements
from meshcompat.audit.releases import ALL, NONE, Releases
from meshcompat.audit.values import (
    UNKNOWN,
    Confidence,
    Kind,
    Value,
    constant,
    instance,
    join,
    loosened,
    mesh,
    named,
)

if TYPE_CHECKING:
    from meshcompat.audit.reading.registry import Registry
    from meshcompat.audit.sites import Site
    from meshcompat.audit.source import Source

_SKIPS = {"skipif": True, "skipIf": True, "skipUnless": False}
"""Decorators of tests, and whether they skip where their condition holds."""
_WORDS = re.compile(
    r"mesh(?!grid)|Mesh|MESH|_flatten|_layout|_rank|_dim_group|redistribute|full_tensor|version|VERSION|torch_"
)
_SHORT = 12
"""Lines of a function that is read whatever its words are."""
_SMALL = 40
"""Statements of a function that is read again for each set of constant arguments."""


class Reader(Statements):
    """Reads a module, then the functions in it, until none is left."""

    def __init__(self, source: Source, registry: Registry, *, collect: bool) -> None:
        super().__init__(source, registry, collect=collect)
        self.returns = []
        self.globals_here = set()
        self.prefix = source.module
        self.depth = 0

    def read(self) -> list[Site]:
        """Read the whole file and return its sites."""
        self.body(self.source.tree.body)
        ends = self.live if self.goes_on else ALL
        self.registry.ends[self.source.module] = ends
        while self.deferred:
            function, live = self.deferred.pop(0)
            self._function_body(function, live & ends)
        return self.sites

    def _FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        name = f"{self.prefix}.{node.name}"
        live = self.live
        for decorator in node.decorator_list:
            self.value(decorator)
            live &= self._let_through(decorator)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.value(default)
        words = {last_name(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
        in_class = self.in_class_body
        function = self.registry.functions.get(name)
        if function is None or function.node is not node:
            function = Function(name, node, self.source, list(self.layers))
            function.class_name = self.class_name if in_class else ""
            function.is_static = "staticmethod" in words
            function.is_property = bool(words & {"property", "cached_property"})
            self.registry.functions.setdefault(name, function)
        function.layers = [
            layer for layer in self.layers if not in_class or layer is not self.layers[-1]
        ]
        if in_class:
            self.registry.classes[self.class_name].methods.setdefault(node.name, function)
        said = self.annotated(node.returns)
        if said.is_known:
            function.returns = said
        self.bind(node.name, Value(Kind.FUNCTION, name, function, falsy=NONE))
        self.deferred.append((function, live))

    _AsyncFunctionDef = _FunctionDef

    def _let_through(self, decorator: ast.expr) -> Releases:
        """Return the releases on which a decorator such as `skipif` lets a test run."""
        if not isinstance(decorator, ast.Call) or not decorator.args:
            return ALL
        skips_where = _SKIPS.get(last_name(decorator.func))
        if skips_where is None:
            return ALL
        collect, self.collect = self.collect, False
        test = self.value(decorator.args[0])
        self.collect = collect
        return test.falsy if skips_where else test.truthy

    def _ClassDef(self, node: ast.ClassDef) -> None:
        name = f"{self.prefix}.{node.name}"
        live = self.live
        for part in [
            *node.decorator_list,
            *node.bases,
            *(keyword.value for keyword in node.keywords),
        ]:
            self.value(part)
        bases = [found.name for found in map(self._dotted, node.bases) if found.kind is Kind.OBJECT]
        unknown = ["?"] * (len(node.bases) - len(bases))
        if name not in self.registry.classes:
            self.registry.classes[name] = Class(name, [*bases, *unknown])
        record = self.registry.classes[name]
        record.bases = [*bases, *unknown]
        record.fields = [
            s.target.id
            for s in node.body
            if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
        ]
        self.bind(node.name, named(name))
        outer = self.prefix, self.class_name, self.in_class_body
        self.prefix, self.class_name, self.in_class_body = name, name, True
        self.layers.append({})
        self.body(node.body)
        for attribute, value in self.layers.pop().items():
            is_object = value.kind in {Kind.MESH, Kind.INSTANCE, Kind.CONTAINER}
            if is_object or isinstance(value.data, dict) or _tells_releases(value):
                self.registry.learn_attribute(name, attribute, value)
        self.prefix, self.class_name, self.in_class_body = outer
        self.live = live

    def _function_body(self, function: Function, live: Releases) -> None:
        node = function.node
        if isinstance(node, ast.Lambda) or self._says_nothing(node):
            return
        outer = (self.layers, self.live, self.frames, self.function, self.class_name, self.prefix, self.returns,
                 self.globals_here, self.goes_on, self.in_class_body, self.outer, self.provided)  # fmt: skip
        self.layers = [*function.layers, self._parameters(function)]
        self.outer, self.provided = len(function.layers), {}
        self.live = self.entered(function, live)
        self.frames, self.function, self.class_name = [], function, function.class_name
        self.prefix, self.returns, self.globals_here = function.name, [], set()
        self.goes_on, self.in_class_body = True, False
        self.body(node.body)
        came_back = self.live if self.goes_on else NONE
        if self.goes_on and not _is_generator(node):
            self.returns.append((constant(None), self.live))
        self._note_returns(function, came_back)
        (self.layers, self.live, self.frames, self.function, self.class_name, self.prefix, self.returns,
         self.globals_here, self.goes_on, self.in_class_body, self.outer, self.provided) = outer  # fmt: skip

    def _says_nothing(self, node: ast.stmt) -> bool:
        """Whether a long function uses no word by which it could have a site or tell of meshes."""
        is_long = (node.end_lineno or node.lineno) - node.lineno > _SHORT
        return is_long and not self.source.mentions(_WORDS, node)

    def entered(self, function: Function, live: Releases) -> Releases:
        """Return the releases on which a function is entered: a private one only where the project calls it."""
        private = function.name.rpartition(".")[2].startswith("_") and not function.name.endswith(
            "__"
        )
        if self.collect and private and function.calls and not function.escapes:
            return live & function.calls
        return live

    def _parameters(self, function: Function) -> dict[str, Value]:
        node = function.node
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))  # noqa: S101  (lambdas are read in place)
        found: dict[str, Value] = {}
        arguments = node.args
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            said = self.annotated(argument.annotation)
            passed = function.parameters.get(argument.arg, UNKNOWN)
            value = loosened(said if said.is_known else passed)
            if value.kind is Kind.MESH and not value.data.identity:
                identified = replace(value.data, identity=f"{function.name}.{argument.arg}")
                value = replace(value, data=identified)
            found[argument.arg] = value
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                said = self.annotated(rest.annotation)
                found[rest.arg] = (
                    Value(Kind.CONTAINER, data=said) if said.is_known else instance("builtins.dict")
                )
        positional = [*arguments.posonlyargs, *arguments.args]
        if function.class_name and not function.is_static and positional:
            is_mesh = self.registry.is_mesh_class(function.class_name)
            found[positional[0].arg] = (
                mesh(Confidence.HIGH) if is_mesh else instance(function.class_name)
            )
        return found

    def _note_returns(self, function: Function, came_back: Releases) -> None:
        function.completes = came_back.union(*(live for _, live in self.returns))
        if function.returns is not None and function.returns.kind is Kind.MESH:
            return
        found = _joined(self.returns)
        if found is not None and (found.is_known or found.says_releases):
            function.returns = loosened(found)

    def inline(
        self, function: Function, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        """Return what a call gives: read again with constant arguments where the function is small."""
        node = function.node
        constants = [*arguments, *keywords.values()]
        is_asked = bool(constants) and all(
            value.kind is Kind.CONCRETE or value.name.startswith("operator.") for value in constants
        )
        if isinstance(node, ast.Lambda) or not is_asked or self.depth > 4 or function.size > _SMALL:
            return function.returns or UNKNOWN
        key = (
            function.name,
            *map(repr, arguments),
            *((name, repr(value)) for name, value in keywords.items()),
        )
        if key not in self.registry.inlined:
            self.registry.inlined[key] = UNKNOWN
            self.registry.inlined[key] = self._run(function, arguments, keywords)
        found = self.registry.inlined[key]
        if found.says_releases or found.kind is Kind.CONCRETE:
            return found
        return function.returns or UNKNOWN

    def _run(self, function: Function, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        node = function.node
        reader = Reader(function.source, self.registry, collect=False)
        reader.depth = self.depth + 1
        reader.trusts_constants = True
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))  # noqa: S101  (asked by the caller)
        names = {**dict(zip(parameters_of(function), arguments, strict=False)), **keywords}
        positional = [*node.args.posonlyargs, *node.args.args]
        for argument, default in zip(
            reversed(positional), reversed(node.args.defaults), strict=False
        ):
            names.setdefault(argument.arg, reader.value(default))
        for argument, given in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if given is not None:
                names.setdefault(argument.arg, reader.value(given))
        reader.layers = [*function.layers, names]
        reader.function = function
        reader.body(node.body)
        found = _joined(
            [
                (value, live)
                for value, live in reader.returns
                if value.says_releases and value.constant is None
            ]
        ) or _joined(reader.returns)
        if found is not None and found.says_releases and found.constant is None:
            return found
        constants = [
            value.constant
            for value in [*arguments, *keywords.values()]
            if value.constant is not None
        ]
        operators = [
            value.name.rpartition(".")[2]
            for value in arguments
            if value.name.startswith("operator.")
        ]
        said = version_words.by_call(node.name, [*constants, *operators])
        return said if said.says_releases else (found or UNKNOWN)


def _joined(returns: list[tuple[Value, Releases]]) -> Value | None:
    """Return what a function gives, of all that its ``return`` statements give."""
    found: Value | None = None
    on: Releases = NONE
    for value, live in returns:
        found = value if found is None else join(found, on, value, live)
        on |= live
    return found


def _tells_releases(value: Value) -> bool:
    """Whether only the truth of a value is known, as that of ``hasattr(DeviceMesh, name)``."""
    return value.kind is Kind.UNKNOWN and value.says_releases


def _is_generator(node: ast.AST) -> bool:
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(node))
