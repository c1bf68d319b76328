"""What is known of an expression's value, without running it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from meshcompat.audit.releases import ALL, NONE, Releases

if TYPE_CHECKING:
    from collections.abc import Callable


class Confidence(enum.IntEnum):
    """How sure it is that a receiver is torch's."""

    LOW = 1
    """Only the name of the method says so."""
    MEDIUM = 2
    """The receiver's own name says so."""
    HIGH = 3
    """Annotation, constructor or import say so."""

    @property
    def word(self) -> str:
        """The name that users write."""
        return self.name.lower()


class Kind(enum.Enum):
    """What sort of thing a value is."""

    UNKNOWN = enum.auto()
    OBJECT = enum.auto()
    """Something importable: a module, a class, a function; `name` is its full path."""
    INSTANCE = enum.auto()
    """An instance of the class `name`."""
    MESH = enum.auto()
    """A torch DeviceMesh; `data` is a `Mesh`."""
    CONCRETE = enum.auto()
    """A Python value for each release; `data` is a `Constant` or a dict by release."""
    SEQUENCE = enum.auto()
    """A tuple or list; `data` is its values."""
    CONTAINER = enum.auto()
    """A list, dict or the like of values like `data`."""
    FUNCTION = enum.auto()
    """A function of the project; `data` is its record."""

    __hash__ = (
        object.__hash__
    )  # Enum's own hashes the name each time, and kinds are looked up for each expression


@dataclass(frozen=True)
class Constant:
    """The same value on every release."""

    value: Any


@dataclass(frozen=True)
class Mesh:
    """What is known of one mesh."""

    confidence: Confidence
    dims: tuple[str, ...] | None = None
    """Names of its mesh dims in order, where they stand in the source."""
    root: tuple[str, ...] | None = None
    """Names of the dims of the mesh that it was sliced from, where they stand in the source."""
    is_submesh: bool = False
    """Whether it was sliced from another."""
    is_flat: bool = False
    """Whether it was flattened."""
    identity: str = ""
    """Which mesh: the same text for the same root; empty where that is unknown."""


@dataclass(frozen=True)
class Value:
    """What is known of a value, and the releases on which it may count as true or as false (None included)."""

    kind: Kind = Kind.UNKNOWN
    name: str = ""
    data: Any = None
    truthy: Releases = ALL
    falsy: Releases = ALL

    @property
    def is_known(self) -> bool:
        """Whether anything is known but that it exists."""
        return self.kind is not Kind.UNKNOWN

    @property
    def says_releases(self) -> bool:
        """Whether its truth depends on the release."""
        return self.truthy != ALL or self.falsy != ALL

    @property
    def constant(self) -> Any:
        """The Python value where it is the same on every release, else None."""
        if self.kind is Kind.CONCRETE and isinstance(self.data, Constant):
            return self.data.value
        return None

    @property
    def common(self) -> Any:
        """The number or text that it is on every release, though it may be computed from torch's version; else None."""
        if self.kind is not Kind.CONCRETE or isinstance(self.data, Constant):
            return self.constant
        first = next(iter(self.data.values()), None)
        is_plain = isinstance(first, (int, str)) and not isinstance(first, bool)
        is_one = len({(type(value), str(value)) for value in self.data.values()}) == 1
        return first if is_plain and is_one and self.data.keys() == ALL else None

    def negated(self) -> Value:
        """Return the value of ``not`` of it."""
        return Value(truthy=self.falsy, falsy=self.truthy)


UNKNOWN = Value()


def mesh(confidence: Confidence, **facts: Any) -> Value:
    """Return a mesh."""
    return Value(Kind.MESH, data=Mesh(confidence, **facts), falsy=NONE)


def named(path: str) -> Value:
    """Return something importable."""
    return Value(Kind.OBJECT, path, falsy=NONE)


def instance(path: str) -> Value:
    """Return an instance of a class."""
    return Value(Kind.INSTANCE, path)


def constant(value: Any) -> Value:
    """Return a Python value that is the same on every release."""
    truth = _truth(value)
    return Value(
        Kind.CONCRETE,
        data=Constant(value),
        truthy=ALL if truth else NONE,
        falsy=NONE if truth else ALL,
    )


def per_release(values: dict[str, Any]) -> Value:
    """Return a Python value that depends on the release; where it is missing, nothing is known."""
    unknown = ALL - values.keys()
    true = frozenset(release for release, value in values.items() if _truth(value))
    false = frozenset(release for release, value in values.items() if not _truth(value))
    return Value(Kind.CONCRETE, data=values, truthy=true | unknown, falsy=false | unknown)


def loosened(value: Value) -> Value:
    """Return a value whose truth is not taken from a constant: a name may be given another later, or in a loop."""
    is_constant = value.kind is Kind.CONCRETE and isinstance(value.data, Constant)
    may_be_none = (
        value.kind in {Kind.MESH, Kind.INSTANCE, Kind.CONTAINER, Kind.SEQUENCE}
        and value.truthy == ALL
    )
    return replace(value, truthy=ALL, falsy=ALL) if is_constant or may_be_none else value


def compute(function: Callable[..., Any], *operands: Value) -> Value:
    """Return what a Python function gives for values, release by release."""
    if any(operand.kind is not Kind.CONCRETE for operand in operands):
        return UNKNOWN
    if all(isinstance(operand.data, Constant) for operand in operands):
        try:
            return constant(function(*(operand.data.value for operand in operands)))
        except Exception:  # noqa: BLE001  (what other people's code raises is theirs)
            return UNKNOWN
    found = {}
    for release in ALL:
        try:
            found[release] = function(*(_on(operand, release) for operand in operands))
        except Exception:  # noqa: BLE001, S112, PERF203  (as above: nothing is known there)
            continue
    return per_release(found) if found else UNKNOWN


def _on(value: Value, release: str) -> Any:
    return value.data.value if isinstance(value.data, Constant) else value.data[release]


def _truth(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:  # noqa: BLE001  (a value of other people's making)
        return True


LAYOUTS = {
    "torch.distributed._mesh_layout._MeshLayout",
    "torch.distributed._mesh_layout._FlatLayout",
}
EITHER_LAYOUT = "the layout of this release"
"""What code holds that takes one class on some releases and the other on others: it has members of both."""
RANK = {
    Kind.MESH: 6,
    Kind.FUNCTION: 5,
    Kind.OBJECT: 5,
    Kind.INSTANCE: 3,
    Kind.CONTAINER: 4,
    Kind.SEQUENCE: 4,
    Kind.CONCRETE: 1,
    Kind.UNKNOWN: 2,
}
"""What a name is taken to be that may be one of two: torch's before others, None and the like last."""


def join(left: Value, on_left: Releases, right: Value, on_right: Releases) -> Value:
    """Return what a name holds that got one value on some releases and another on others."""
    if left == right:
        return left
    truthy = (left.truthy & on_left) | (right.truthy & on_right)
    falsy = (left.falsy & on_left) | (right.falsy & on_right)
    if left.kind is right.kind is Kind.CONCRETE:
        return _join_concrete(left, on_left, right, on_right)
    if left.kind is right.kind is Kind.MESH:
        return Value(Kind.MESH, left.name, _join_meshes(left.data, right.data), truthy, falsy)
    if left.kind is right.kind is Kind.FUNCTION and left.data.returns != right.data.returns:
        return Value(truthy=truthy, falsy=falsy)
    if left.kind is right.kind and {left.name, right.name} == LAYOUTS:
        return Value(left.kind, EITHER_LAYOUT, None, truthy, falsy)
    chosen = max(left, right, key=preference)
    return replace(chosen, truthy=truthy, falsy=falsy)


def _join_meshes(left: Mesh, right: Mesh) -> Mesh:
    """Return what is known of a mesh that is one of two."""
    if left.confidence != right.confidence and Confidence.MEDIUM in {
        left.confidence,
        right.confidence,
    }:
        return max(
            left, right, key=lambda one: one.confidence
        )  # a name that only hints is the same mesh
    return Mesh(
        max(left.confidence, right.confidence),
        dims=left.dims if left.dims == right.dims else None,
        root=left.root if left.root == right.root else None,
        is_submesh=left.is_submesh and right.is_submesh,
        is_flat=left.is_flat and right.is_flat,
        identity=left.identity if left.identity == right.identity else "",
    )


def preference(value: Value) -> tuple[int, int]:
    """Return what orders values by how much they say."""
    torch = value.kind is Kind.OBJECT and value.name.startswith("torch.")
    sure = value.data.confidence if value.kind is Kind.MESH else int(torch)
    return RANK[value.kind], sure


def _join_concrete(left: Value, on_left: Releases, right: Value, on_right: Releases) -> Value:
    both = on_left & on_right
    found: dict[str, Any] = {}
    for release in (on_left | on_right) - both:
        side = left if release in on_left else right
        if isinstance(side.data, Constant) or release in side.data:
            found[release] = _on(side, release)
    joined = per_release(found) if found else UNKNOWN
    if joined.common is not None:
        joined = constant(joined.common)
    truthy = (left.truthy & on_left) | (right.truthy & on_right)
    falsy = (left.falsy & on_left) | (right.falsy & on_right)
    return replace(joined, truthy=truthy, falsy=falsy)


def strings(value: Value | None) -> tuple[str, ...] | None:
    """Return the strings of a tuple or list of them, or None."""
    if value is None:
        return None
    found = value.constant
    if isinstance(found, (tuple, list)) and found and all(isinstance(part, str) for part in found):
        return tuple(found)
    if (
        value.kind is Kind.SEQUENCE
        and value.data
        and all(isinstance(part.constant, str) for part in value.data)
    ):
        return tuple(part.constant for part in value.data)
    return None
