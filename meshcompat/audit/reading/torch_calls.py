"""Reading calls of torch's functions, constructors and methods."""

from __future__ import annotations

import ast
from typing import Any

from meshcompat.audit import torch_names
from meshcompat.audit.reading import version_words
from meshcompat.audit.reading.asking import Asking
from meshcompat.audit.reading.members import DTENSOR, MUTATORS, TENSOR
from meshcompat.audit.sites import Role
from meshcompat.audit.values import (
    UNKNOWN,
    Confidence,
    Kind,
    Mesh,
    Value,
    compute,
    instance,
    mesh,
    strings,
)


class TorchCalls(Asking):
    """What torch gives back, and the sites that its calls are."""

    def _torch_called(
        self,
        function: Value,
        path: str,
        node: ast.Call,
        arguments: list[Value],
        keywords: dict[str, Value],
    ) -> Value:
        self._keywords(path.removesuffix(".__init__"), node)
        if path == torch_names.INIT:
            return mesh(
                Confidence.HIGH,
                dims=strings(keywords.get("mesh_dim_names")),
                identity=self._place(node),
            )
        if path == torch_names.MESH:
            return self._rebuilt(node, arguments, keywords)
        if path.startswith(f"{torch_names.MESH}."):
            receiver = function.data if isinstance(function.data, Value) else mesh(Confidence.HIGH)
            return self._mesh_method(path.rpartition(".")[2], receiver, node, arguments, keywords)
        if path.startswith((f"{torch_names.RESOURCES}.", f"{torch_names.ENVIRONMENT}.")):
            return self._resources_method(path, node)
        last = path.rpartition(".")[2]
        if last in {
            "distribute_tensor",
            "from_local",
            "zeros",
            "ones",
            "empty",
            "rand",
            "randn",
            "full",
        }:
            on = next(
                (value for value in [*arguments, *keywords.values()] if value.kind is Kind.MESH),
                None,
            )
            return (
                Value(Kind.INSTANCE, DTENSOR, on)
                if on is not None or ".tensor." in path
                else instance(TENSOR)
            )
        if last in version_words.PARSERS and arguments:
            return compute(version_words.PARSERS[last], arguments[0])
        if (
            last in {"reshape", "flatten", "tensor", "as_tensor"}
            and arguments
            and arguments[0].name == TENSOR
        ):
            return arguments[0]
        is_class = last[:1].isupper() and not last.isupper()
        return instance(path) if is_class else UNKNOWN

    def _keywords(self, path: str, node: ast.Call) -> None:
        known = self._function_row(path)
        if known is None:
            return
        for keyword in node.keywords:
            releases = torch_names.parameter_releases(path, keyword.arg) if keyword.arg else None
            if releases is None or releases >= torch_names.on(known):
                continue
            missing = torch_names.on(known) - releases
            before = self.live
            caught = self.fail("TypeError", missing)
            self.emit(Role.KEYWORD, path, keyword.arg or "", self.source.keyword_span(keyword), keyword, UNKNOWN,
                      known=known, is_caught=caught, live=before, confidence=self._sure_of(node))  # fmt: skip

    def _unpacked(self, function: Value, keyword: ast.keyword) -> None:
        """Read ``**{"backend_override": ...}``."""
        value = keyword.value
        self.value(value)
        if function.kind is not Kind.OBJECT or not isinstance(value, (ast.Dict, ast.IfExp)):
            return
        for one in [value] if isinstance(value, ast.Dict) else []:
            known = self._function_row(function.name)
            for key in one.keys:
                if (
                    known is None
                    or not isinstance(key, ast.Constant)
                    or not isinstance(key.value, str)
                ):
                    continue
                releases = torch_names.parameter_releases(function.name, key.value)
                if releases is not None and not releases >= torch_names.on(known):
                    before = self.live
                    caught = self.fail("TypeError", torch_names.on(known) - releases)
                    self.emit(Role.KEYWORD, function.name, key.value, self.source.span(key), keyword, UNKNOWN,
                              known=known, is_caught=caught, live=before, confidence=Confidence.HIGH)  # fmt: skip

    def _function_row(self, path: str) -> Any:
        if not path.startswith((*torch_names.DEFINING,)):
            return None
        return torch_names.row(path)

    def _sure_of(self, node: ast.Call) -> Confidence:
        if isinstance(node.func, ast.Attribute):
            collect, self.collect = self.collect, False
            receiver = self.value(node.func.value)
            self.collect = collect
            if receiver.kind is Kind.MESH:
                found: Confidence = receiver.data.confidence
                return found
        return Confidence.HIGH

    def _rebuilt(self, node: ast.Call, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        ranks = arguments[1] if len(arguments) > 1 else keywords.get("mesh")
        if ranks is not None and ranks.name == TENSOR and isinstance(ranks.data, Value):
            span = self.source.span(node.func)
            self.emit(Role.REBUILD, torch_names.MESH, "DeviceMesh", span, node, ranks.data)
        return mesh(
            Confidence.HIGH,
            dims=strings(keywords.get("mesh_dim_names")),
            identity=self._place(node),
        )

    def _mesh_method(
        self,
        name: str,
        receiver: Value,
        node: ast.Call,
        arguments: list[Value],
        keywords: dict[str, Value],
    ) -> Value:
        facts = receiver.data if isinstance(receiver.data, Mesh) else Mesh(Confidence.HIGH)
        if name == "_flatten":
            flat = keywords.get("mesh_dim_name") or (arguments[0] if arguments else UNKNOWN)
            names = (flat.constant,) if isinstance(flat.constant, str) else ()
            has_name = (
                flat.kind is not Kind.UNKNOWN or bool(arguments) or "mesh_dim_name" in keywords
            )
            names = names or (() if has_name else ("",))
            func = node.func
            span = (
                self.source.attribute_span(func)
                if isinstance(func, ast.Attribute)
                else self.source.span(func)
            )
            caught = any(frame.takes("RuntimeError") for frame in self.frames)
            self.emit(
                Role.FLATTEN,
                torch_names.MESH,
                name,
                span,
                node,
                receiver,
                names=names,
                is_caught=caught,
            )
            dims = names if names != ("",) else None
            return mesh(
                facts.confidence,
                dims=dims,
                root=facts.root,
                is_flat=True,
                is_submesh=True,
                identity=facts.identity,
            )
        if name in MUTATORS:
            self._mutated(node)
        if name in {"_unflatten", "_get_root_mesh", "_concatenate", "from_group", "__getitem__"}:
            return mesh(facts.confidence)
        if name == "_get_all_submeshes":
            return Value(Kind.CONTAINER, data=mesh(facts.confidence))
        if name == "get_all_groups":
            return Value(Kind.CONTAINER, data=UNKNOWN)
        return UNKNOWN

    def _resources_method(self, path: str, node: ast.Call) -> Value:
        last = path.rpartition(".")[2]
        if last in {
            "get_root_mesh",
            "get_parent_mesh",
            "get_current_mesh",
            "create_child_mesh",
            "create_sub_mesh",
            "create_flatten_mesh",
        }:
            return mesh(Confidence.HIGH)
        if last == "_get_all_submeshes":
            return Value(Kind.CONTAINER, data=mesh(Confidence.HIGH))
        if last in MUTATORS:
            self._mutated(node)
        return UNKNOWN

    def _mutated(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Attribute):
            role = Role.CLEAR if node.func.attr in {"clear", "popitem"} else Role.WRITE
            self.written_table(node.func.value, node, role)

    def _redistributed(
        self,
        node: ast.Call,
        on: Value,
        arguments: list[Value],
        keywords: dict[str, Value],
        name: str,
    ) -> None:
        given = next(
            (value for value in [*arguments, *keywords.values()] if value.kind is Kind.MESH), on
        )
        if name == "full_tensor" and given.kind is not Kind.MESH:
            return
        span = (
            self.source.attribute_span(node.func)
            if isinstance(node.func, ast.Attribute)
            else self.source.span(node)
        )
        sure = given.data.confidence if given.kind is Kind.MESH else Confidence.MEDIUM
        self.emit(Role.REDISTRIBUTE, DTENSOR, name, span, node, given, confidence=sure)

    def _place(self, node: ast.expr) -> str:
        return f"{self.source.path}:{node.lineno}:{node.col_offset}"
