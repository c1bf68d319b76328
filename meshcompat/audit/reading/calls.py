"""Reading calls: of the project's functions, and of what asks for releases."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from meshcompat.audit.reading import fields, own, version_words
from meshcompat.audit.reading.members import MUTATORS, TENSOR
from meshcompat.audit.reading.scope import last_name
from meshcompat.audit.reading.slices import Slices
from meshcompat.audit.releases import ALL, NONE
from meshcompat.audit.values import (
    UNKNOWN,
    Confidence,
    Kind,
    Value,
    compute,
    instance,
    mesh,
    per_release,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.audit.reading.registry import Function

_MOCKS = {
    "Mock",
    "MagicMock",
    "AsyncMock",
    "NonCallableMock",
    "NonCallableMagicMock",
    "create_autospec",
    "SimpleNamespace",
}
_PURE: dict[str, Callable[..., Any]] = {
    "all": all,
    "any": any,
    "int": int,
    "str": str,
    "tuple": tuple,
    "list": list,
    "len": len,
    "float": float,
    "bool": bool,
    "max": max,
    "min": min,
}
_LONGEST = 100
"""Characters of an argument of a method that is computed."""
_PURE_METHODS = {
    "split", "rsplit", "partition", "rpartition", "strip", "lstrip", "rstrip", "startswith", "endswith", "replace",
    "lower", "removesuffix", "removeprefix", "isdigit", "isdecimal", "find", "count", "index", "splitlines",
}  # fmt: skip
_RANK_METHODS = {
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "contiguous", "clone", "cpu", "to", "squeeze",
    "unsqueeze", "swapaxes", "movedim", "expand", "detach", "tolist", "numpy", "t", "swapdims", "select",
    "narrow", "int",
}  # fmt: skip


class Calls(Slices):
    """What a call gives, and the sites that it is."""

    def inline(
        self, function: Function, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        """Return what a call of a small function of the project gives; `Statements` does."""
        raise NotImplementedError

    def _Call(self, node: ast.Call) -> Value:
        special = (
            getattr(self, f"_call_{last_name(node.func)}", None)
            if isinstance(node.func, ast.Name)
            else None
        )
        if special is not None and len(node.args) in {1, 2, 3}:
            found = special(node)
            if found is not None:
                return self.with_hint(found, node)
        function = self._callee(node.func)
        arguments = [self.value(argument) for argument in node.args]
        keywords = {
            keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg
        }
        for keyword in node.keywords:
            if keyword.arg is None:
                self._unpacked(function, keyword)
        return self.with_hint(self.called(function, node, arguments, keywords), node)

    def _callee(self, node: ast.expr) -> Value:
        self.is_callee = True
        found = self.value(node)
        if found.kind is Kind.FUNCTION:
            found.data.calls |= self.live
        return found

    def called(
        self, function: Value, node: ast.Call, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        """Return what calling a value gives."""
        if function.kind is Kind.OBJECT:
            return self._object_called(function, node, arguments, keywords)
        if function.kind is Kind.FUNCTION:
            return self._project_function(function.data, arguments, keywords)
        if function.kind is Kind.INSTANCE and function.name == "method":
            receiver, name = function.data
            if receiver.kind is Kind.CONTAINER and name in MUTATORS:
                self._mutated(node)
            if (
                name in MUTATORS
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
            ):
                self.bind(
                    node.func.value.id, receiver if receiver.kind is Kind.CONTAINER else UNKNOWN
                )
            return self._method_of_concrete(receiver, name, arguments)
        if function.kind is Kind.INSTANCE and function.name == "method of ranks":
            receiver, name = function.data
            return receiver if name in _RANK_METHODS else UNKNOWN
        if function.kind is Kind.INSTANCE and function.name == "method of a DTensor":
            receiver, name = function.data
            self._redistributed(node, receiver.data or UNKNOWN, arguments, keywords, name)
            return receiver if name == "redistribute" else instance(TENSOR)
        if function.kind is Kind.MESH:
            return UNKNOWN
        if fields.is_of_other(function):
            return function
        name = last_name(node.func)
        if name == "redistribute" or (
            name == "full_tensor" and isinstance(node.func, ast.Attribute)
        ):
            self._redistributed(node, UNKNOWN, arguments, keywords, name)
        elif (
            function.kind is Kind.UNKNOWN
            and isinstance(node.func, ast.Attribute)
            and name in MUTATORS
        ):
            self._mutated(node)
        constants = [value.constant for value in [*arguments, *keywords.values()]]
        said = version_words.by_call(name, [value for value in constants if value is not None])
        if said.is_known or said.says_releases:
            return said
        return UNKNOWN

    def _object_called(
        self, function: Value, node: ast.Call, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        path = function.name
        last = path.rpartition(".")[2]
        if path.startswith("torch."):
            return self._torch_called(function, path, node, arguments, keywords)
        if path.startswith("builtins."):
            return self._builtin_called(last, node, arguments)
        made = own.given(path, self._place(node), arguments, keywords)
        if made is not None:
            return made
        if self.registry.is_mesh_class(path):
            return mesh(Confidence.HIGH)
        if path in self.registry.classes:
            return self._constructed(path, arguments, keywords)
        if last in _MOCKS:
            return instance("unittest.mock.Mock")
        if path.startswith("operator.") and last in version_words.OPERATORS:
            return compute(version_words.OPERATORS[last], *arguments)
        if path == "inspect.signature" and arguments:
            return Value(Kind.INSTANCE, "inspect.Signature", _signed(arguments[0]))
        if path == "functools.partial" and arguments and arguments[0].kind is Kind.OBJECT:
            self._keywords(arguments[0].name, node)
            return arguments[0]
        if last in version_words.PARSERS and arguments:
            return compute(version_words.PARSERS[last], arguments[0])
        if (
            path in {"importlib.metadata.version", "importlib_metadata.version"}
            and arguments
            and arguments[0].constant == "torch"
        ):
            return per_release({release: release for release in ALL})
        constants = [value.constant for value in [*arguments, *keywords.values()]]
        operators = [
            value.name.rpartition(".")[2]
            for value in arguments
            if value.name.startswith("operator.")
        ]
        said = version_words.by_call(
            last, [*(value for value in constants if value is not None), *operators]
        )
        if said.is_known or said.says_releases:
            return said
        is_class = last[:1].isupper() and last.lower() != last.upper() and not last.isupper()
        return instance(path) if is_class or fields.is_other(path) else UNKNOWN

    def _builtin_called(self, name: str, node: ast.Call, arguments: list[Value]) -> Value:
        if name == "map" and len(arguments) == 2 and arguments[0].name == "builtins.int":
            return compute(lambda parts: [int(part) for part in parts], arguments[1])
        if name in {"dir", "vars"}:
            return Value(Kind.INSTANCE, "builtins.dir", arguments[0] if arguments else None)
        if name in {"str", "repr"} and arguments and arguments[0].name == "exception":
            return Value(Kind.INSTANCE, "exception text", arguments[0].data)
        if name == "dict":
            values = [value for value in arguments if value.kind is Kind.MESH]
            return Value(Kind.CONTAINER, data=values[0]) if values else instance("builtins.dict")
        if name == "super":
            base = self.class_name if self.registry.is_mesh_class(self.class_name) else ""
            return mesh(Confidence.HIGH) if base else UNKNOWN
        if (
            name in {"next", "min", "max", "sorted", "reversed", "iter"}
            and arguments
            and arguments[0].kind is Kind.CONTAINER
        ):
            return arguments[0].data if name == "next" else arguments[0]
        if name == "cast" and len(node.args) == 2:
            return self.annotated(node.args[0])
        if name in {"bool", "callable"} and arguments and arguments[0].kind is not Kind.CONCRETE:
            return Value(truthy=arguments[0].truthy, falsy=arguments[0].falsy)
        if name in {"all", "any"} and arguments and arguments[0].kind is Kind.SEQUENCE:
            return _together(name, arguments[0].data)
        function = _PURE.get(name)
        return UNKNOWN if function is None else compute(function, *arguments)

    def _method_of_concrete(self, receiver: Value, name: str, arguments: list[Value]) -> Value:
        if receiver.kind is Kind.CONTAINER:
            if name in {"get", "pop", "setdefault", "popitem"}:
                return receiver.data  # type: ignore[no-any-return]
            if name == "items":
                return Value(
                    Kind.CONTAINER, data=Value(Kind.SEQUENCE, data=(UNKNOWN, receiver.data))
                )
            return receiver if name in {"values", "copy"} else UNKNOWN
        if name not in _PURE_METHODS or any(len(str(one.constant)) > _LONGEST for one in arguments):
            return UNKNOWN
        method: Callable[..., Any] = lambda value, *given: getattr(value, name)(*given)  # noqa: E731
        return compute(method, receiver, *arguments)

    def _project_function(
        self, function: Function, arguments: list[Value], keywords: dict[str, Value]
    ) -> Value:
        names = parameters_of(function)
        if "mesh" in function.name.rpartition(".")[2].lower():
            self.touch(Confidence.MEDIUM)
        for name, value in [*zip(names, arguments, strict=False), *keywords.items()]:
            self.registry.learn_parameter(function, name, value)
        if function.returns is not None and function.returns.kind is Kind.MESH:
            return function.returns
        return self.inline(function, arguments, keywords)

    def _constructed(self, path: str, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        for record in self.registry.lineage(path):
            initialiser = record.methods.get("__init__")
            if initialiser is not None:
                for name, value in [
                    *zip(parameters_of(initialiser), arguments, strict=False),
                    *keywords.items(),
                ]:
                    self.registry.learn_parameter(initialiser, name, value)
                break
            for name, value in [*zip(record.fields, arguments, strict=False), *keywords.items()]:
                if value.kind is Kind.MESH and name in record.fields:
                    self.registry.learn_attribute(record.name, name, value)
        return instance(path)


def _together(name: str, values: tuple[Value, ...]) -> Value:
    """Return the truth of `all` or `any` of values."""
    true, false = [value.truthy for value in values], [value.falsy for value in values]
    if name == "all":
        return Value(truthy=ALL.intersection(*true), falsy=NONE.union(*false))
    return Value(truthy=NONE.union(*true), falsy=ALL.intersection(*false))


def _signed(value: Value) -> str | None:
    return value.name if value.kind is Kind.OBJECT else None


def parameters_of(function: Function) -> list[str]:
    """Return the names of a function's positional parameters, without the receiver of a method."""
    arguments = function.node.args
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    return names[1:] if function.class_name and not function.is_static else names
