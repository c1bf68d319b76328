"""Integer algebra of mesh layouts: no torch, no process groups, no words for the user.

An *axis* is a pair ``(size, stride)`` over the flat list of a root mesh's ranks. A mesh dim
is a tuple of axes, outermost first, kept *canonical*: no axis of size 1, and neighbours that
can be one axis are one. So equal tuples mean equal ranks in equal order, and a mesh dim of
size 1 is the empty tuple. *Positions* index the flat list; what rank stands there is the
caller's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Axis = tuple[int, int]
"""One ``(size, stride)`` pair."""
Axes = tuple[Axis, ...]
"""One mesh dim: canonical axes, outermost first."""


@dataclass(frozen=True)
class MeshLayout:
    """A mesh as plain data: comparable, hashable, picklable, without torch.

    Attributes:
        root_shape: Sizes of the root mesh.
        dims: Per mesh dim its ``(size, stride)`` pairs over the root's flat list of ranks,
            outermost first; a mesh dim of size 1 has none.
        names: Name of each mesh dim, or None where the mesh has no names.

    Example:
        >>> from meshcompat import init_device_mesh, layout_of
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> layout_of(mesh)
        MeshLayout(root_shape=(2, 4), dims=(((2, 4),), ((4, 1),)), names=('dp', 'tp'))
        >>> layout_of(mesh).shape
        (2, 4)
    """

    root_shape: tuple[int, ...]
    dims: tuple[Axes, ...]
    names: tuple[str, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each mesh dim."""
        return tuple(size_of(axes) for axes in self.dims)


def canonical(axes: Iterable[Axis]) -> Axes:
    """Drop axes of size 1 and merge neighbours that run on without a gap."""
    merged: list[Axis] = []
    for size, stride in axes:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def size_of(axes: Axes) -> int:
    """Return how many positions the mesh dim has."""
    return math.prod(size for size, _ in axes)


def dims_of(shape: Sequence[int]) -> tuple[Axes, ...]:
    """Return the mesh dims of a root of this shape: row major, the last varies fastest."""
    dims: list[Axes] = []
    stride = math.prod(shape)
    for size in shape:
        stride //= size
        dims.append(canonical([(size, stride)]))
    return tuple(dims)


def join(dims: Iterable[Axes]) -> Axes:
    """Make one mesh dim of several; the last varies fastest."""
    return canonical(axis for axes in dims for axis in axes)


def split(axes: Axes, sizes: Sequence[int]) -> tuple[Axes, ...] | None:
    """Split one mesh dim into dims of these sizes, or None where the strides forbid it."""
    if math.prod(sizes) != size_of(axes):
        return None
    left = list(axes)
    dims: list[Axes] = []
    for wanted in reversed(sizes):
        taken: list[Axis] = []
        missing = wanted
        while missing > 1:
            size, stride = left.pop()
            part = math.gcd(size, missing)
            if part == 1:
                return None
            taken.append((part, stride))
            if part < size:
                left.append((size // part, stride * part))
            missing //= part
        dims.append(canonical(reversed(taken)))
    return tuple(reversed(dims))


def outermost_first(axes: Iterable[Axis]) -> Axes:
    """Sort axes into the order of the root, which is the order of ascending positions."""
    return canonical(sorted(axes, key=lambda axis: -axis[1]))


def complement(axes: Iterable[Axis], total: int) -> Axes | None:
    """Return the axes that reach every first position of a coset, in ascending order.

    None where the axes do not tile a list of ``total`` positions: they overlap, or leave
    the list.
    """
    rest: list[Axis] = []
    reach = 1
    for size, stride in sorted(axes, key=lambda axis: axis[1]):
        if size == 1:
            continue
        if stride % reach:
            return None
        rest.append((stride // reach, reach))
        reach = size * stride
    if total % reach:
        return None
    rest.append((total // reach, reach))
    return canonical(reversed(rest))


def offsets(axes: Iterable[Axis]) -> list[int]:
    """Return the positions of a mesh dim (or of joined ones) relative to the first."""
    found = [0]
    for size, stride in axes:
        found = [start + step * stride for start in found for step in range(size)]
    return found


def cosets(axes: Axes, total: int) -> Iterator[list[int]]:
    """Yield the positions of every group of a mesh dim: the same list on all ranks."""
    starts = complement(axes, total)
    if starts is None:
        raise ValueError(f"axes {axes} do not tile {total} positions")
    steps = offsets(axes)
    for start in offsets(starts):
        yield [start + step for step in steps]


def coset_at(axes: Axes, total: int, number: int) -> list[int]:
    """Return the positions of one group of a mesh dim, as `cosets` numbers them from 0 on."""
    start = 0
    for size, stride in reversed(complement(axes, total) or ()):
        start += number % size * stride
        number //= size
    return [start + step for step in offsets(axes)]


def coset_number(axes: Axes, total: int, position: int) -> int:
    """Return which of `cosets`, from 0 on, ``position`` is in."""
    return coordinate(complement(axes, total) or (), start_of(axes, position))


def start_of(axes: Iterable[Axis], position: int) -> int:
    """Return the first position of the coset that ``position`` is in."""
    return position - sum(position // stride % size * stride for size, stride in axes)


def coordinate(axes: Axes, position: int) -> int:
    """Return the index of ``position`` along the mesh dim."""
    index = 0
    for size, stride in axes:
        index = index * size + position // stride % size
    return index


def derive(positions: Sequence[int], shape: Sequence[int]) -> tuple[Axes, ...] | None:
    """Find the mesh dims of a mesh from its positions (flat, row major) and its shape.

    None where no layout gives these positions.
    """
    dims: list[Axes] = []
    step = len(positions)
    for size in shape:
        step //= size
        axes = _derive_axes([positions[index * step] - positions[0] for index in range(size)])
        if axes is None:
            return None
        dims.append(axes)
    every = [axis for axes in dims for axis in axes]
    if [positions[0] + offset for offset in offsets(every)] != list(positions):
        return None
    return tuple(dims)


def _derive_axes(steps: list[int]) -> Axes | None:
    """Find the axes whose `offsets` are ``steps``."""
    axes: list[Axis] = []
    while len(steps) > 1:
        stride = steps[1]
        run = next((i for i, step in enumerate(steps) if step != i * stride), len(steps))
        while len(steps) % run:
            run -= 1
        if stride <= 0 or run == 1:
            return None
        axes.append((run, stride))
        steps = steps[::run]
    return canonical(reversed(axes))
