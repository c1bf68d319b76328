"""Reading items: slices of meshes by names, and parts of containers and versions."""

from __future__ import annotations

import ast

from meshcompat.audit import torch_names
from meshcompat.audit.reading import fields
from meshcompat.audit.reading.members import TENSOR, instance_of_ranks
from meshcompat.audit.reading.torch_calls import TorchCalls
from meshcompat.audit.sites import Role
from meshcompat.audit.values import (
    UNKNOWN,
    Kind,
    Mesh,
    Value,
    compute,
    constant,
    mesh,
    strings,
)


class Slices(TorchCalls):
    """What an item of a value is."""

    def _Subscript(self, node: ast.Subscript) -> Value:
        receiver = self.value(node.value)
        key = self.value(node.slice)
        if receiver.kind is Kind.MESH:
            return self._sliced(receiver, key, node)
        if (
            receiver.kind is Kind.INSTANCE
            and receiver.name == TENSOR
            and isinstance(receiver.data, Value)
        ):
            return instance_of_ranks(receiver.data)
        if receiver.kind is Kind.CONTAINER:
            return receiver.data  # type: ignore[no-any-return]
        if (
            receiver.kind is Kind.SEQUENCE
            and isinstance(key.constant, int)
            and -len(receiver.data) <= key.constant < len(receiver.data)
        ):
            return receiver.data[key.constant]  # type: ignore[no-any-return]
        if receiver.kind is Kind.CONCRETE and isinstance(node.slice, ast.Slice):
            bounds = [
                self.value(bound) if bound else constant(None)
                for bound in (node.slice.lower, node.slice.upper)
            ]
            return compute(lambda value, low, high: value[low:high], receiver, *bounds)
        if receiver.kind is Kind.CONCRETE:
            return compute(lambda value, index: value[index], receiver, key)
        if receiver.kind is Kind.INSTANCE and receiver.name == "exception text":
            return receiver
        if fields.is_of_other(receiver):
            return receiver
        return self.with_hint(UNKNOWN, node)

    def _Slice(self, node: ast.Slice) -> Value:
        for bound in (node.lower, node.upper, node.step):
            if bound is not None:
                self.value(bound)
        return UNKNOWN

    def _sliced(self, receiver: Value, key: Value, node: ast.Subscript) -> Value:
        facts: Mesh = receiver.data
        names = strings(key)
        if names is None and isinstance(key.constant, str):
            names = (key.constant,)
        if names is None and key.kind is not Kind.SEQUENCE:
            if isinstance(key.constant, int) or isinstance(node.slice, ast.Slice):
                return UNKNOWN
            return mesh(facts.confidence, is_submesh=True)
        self.touch()
        caught = any(frame.takes("KeyError") for frame in self.frames)
        span = self.source.span(node.slice)
        self.emit(
            Role.LOOKUP,
            torch_names.MESH,
            "[...]",
            span,
            node,
            receiver,
            names=names or (),
            is_caught=caught,
        )
        root = facts.root if facts.is_submesh else facts.dims
        return mesh(
            facts.confidence, dims=names, root=root, is_submesh=True, identity=facts.identity
        )
