"""Roots and meshes by plain enumeration: every line of every mesh dim is written out.

The oracle of generated programs. It knows no strides and asks nothing of meshcompat: a mesh dim
is the list of all its lines of positions in the root, and a mesh is what one reaches by walking
along the lines of its dims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Partition = tuple[tuple[int, ...], ...]


class Lines:
    """All lines of a mesh dim over the positions of a root, each in the order of the dim."""

    def __init__(self, rows: np.ndarray) -> None:
        """*rows* has one line a row, and every position of the root once."""
        self.rows = rows[np.argsort(rows.min(axis=1))]
        self.size = rows.shape[1]
        self._row_of = np.empty(rows.size, dtype=int)
        self._row_of[self.rows] = np.arange(len(rows))[:, None]

    def through(self, positions: np.ndarray) -> np.ndarray:
        """Return the line through each of *positions*, along a new last axis."""
        return self.rows[self._row_of[positions]]

    @property
    def partition(self) -> Partition:
        """The lines as sets of positions, in the order in which groups are made of them."""
        return tuple(map(tuple, np.sort(self.rows, axis=1).tolist()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines) and np.array_equal(self.rows, other.rows)

    def __hash__(self) -> int:
        return hash(self.rows.tobytes())


class Dim(NamedTuple):
    """A mesh dim with its name, and the number of its group among those of the root."""

    name: str
    lines: Lines
    group: int


class Root:
    """A root mesh, and what was made of it."""

    def __init__(
        self,
        shape: Sequence[int],
        names: Sequence[str],
        ranks: Sequence[int],
        world_size: int,
        *,
        has_timeout: bool = False,
        sorts_groups: bool = False,
    ) -> None:
        """*has_timeout* says that no group of the root can be the default one.

        *sorts_groups* says that this torch sorts the ranks of every group.
        """
        self.ranks = np.array(ranks)
        self.sorts_groups = sorts_groups
        self.has_default_group = len(ranks) == world_size and not has_timeout
        self.groups: list[tuple[Partition, bool]] = []
        """Each partition that groups were made of, and whether other dims may take them."""
        self.flattened: dict[str, Dim] = {}
        self.factorised: dict[tuple[object, ...], tuple[Dim, ...]] = {}
        self.places: dict[tuple[str, Lines], tuple[int, ...]] = {}
        """Where each dim that was made stands, by name and lines: its first dim of the root, then parts."""
        self.made: list[tuple[int, ...]] = []
        """Global ranks of every group that the last operation had to make, in order."""
        grid = np.arange(len(ranks)).reshape(shape)
        self.dims = tuple(
            self.dim(name, Lines(np.moveaxis(grid, axis, -1).reshape(-1, size)), share=True)
            for axis, (name, size) in enumerate(zip(names, shape, strict=True))
        )
        for axis, dim in enumerate(self.dims):
            self.keep_place(dim, (axis,))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dim.name for dim in self.dims)

    def dim(self, name: str, lines: Lines, *, share: bool) -> Dim:
        """Return a new mesh dim, with a group that is there or has to be made."""
        partition = lines.partition
        whole_world = tuple(range(len(self.ranks)))
        if self.has_default_group and self.in_group(partition[0]) == whole_world:
            return Dim(name, lines, -1)
        is_shared = share or lines.size == 1
        if is_shared and (partition, True) in self.groups:
            return Dim(name, lines, self.groups.index((partition, True)))
        self.groups.append((partition, is_shared))
        self.made += [tuple(self.ranks[list(row)].tolist()) for row in partition]
        return Dim(name, lines, len(self.groups) - 1)

    def in_group(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Return the ranks at ascending *positions* in the order that their group has."""
        ranks = tuple(self.ranks[list(positions)].tolist())
        return tuple(sorted(ranks)) if self.sorts_groups else ranks

    def keep_place(self, dim: Dim, place: tuple[int, ...]) -> None:
        self.places.setdefault((dim.name, dim.lines), place)

    def place_of(self, dim: Dim) -> tuple[int, ...]:
        return self.places[dim.name, dim.lines]

    def mesh(self) -> Mesh:
        return Mesh(self, self.dims, np.arange(len(self.ranks)))

    def position_of(self, rank: int) -> int:
        """Return where *rank* stands; outside, the first position."""
        found = np.flatnonzero(self.ranks == rank)
        return int(found[0]) if len(found) else 0


class Mesh(NamedTuple):
    """A mesh on all ranks."""

    root: Root
    dims: tuple[Dim, ...]
    around: np.ndarray
    """For each position of the root one in the mesh that the rank there sees: its own, or the first."""

    def with_dims(self, *dims: Dim) -> Mesh:
        """Return the mesh of other dims around the same ranks."""
        every = np.arange(len(self.around))
        inside = walk([dim.lines for dim in dims], self.around).reshape(len(every), -1)
        is_in = (inside == every[:, None]).any(axis=1)
        return Mesh(self.root, dims, np.where(is_in, every, inside[:, 0]))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dim.name for dim in self.dims)

    def find(self, name: str) -> Dim | None:
        """Look a name up: its own dims, then the flattened ones of the root, then the root's."""
        for known in (self.dims, self.root.flattened.values(), self.root.dims):
            for dim in known:
                if dim.name == name:
                    return dim
        return None

    def seen_by(self, rank: int) -> np.ndarray:
        """Return the global ranks of the mesh as *rank* sees it."""
        return self.root.ranks[self.positions_seen_by(rank)]

    def positions_seen_by(self, rank: int) -> np.ndarray:
        """Return the positions in the root of the mesh as *rank* sees it."""
        return walk(self.lines, self.around[self.root.position_of(rank)])

    @property
    def lines(self) -> list[Lines]:
        return [dim.lines for dim in self.dims]


def walk(dims: Sequence[Lines], positions: np.ndarray) -> np.ndarray:
    """Return what is reached from *positions* along the dims one after the other.

    The result has the axes of *positions*, then one for each dim.
    """
    reached = np.asarray(positions)
    for lines in dims:
        reached = lines.through(reached)
    return reached


def tile(dims: Sequence[Lines]) -> bool:
    """Return whether each position is in one mesh of these dims, and there in one place."""
    every = np.arange(dims[0].rows.size)
    meshes = np.sort(walk(dims, every).reshape(len(every), -1), axis=1)
    is_once = (np.diff(meshes, axis=1) > 0).all() if meshes.shape[1] > 1 else True
    return bool(is_once and (meshes[meshes] == meshes[:, None]).all())


def join(dims: Sequence[Lines]) -> Lines:
    """Return several dims as one; the last varies fastest."""
    every = np.arange(dims[0].rows.size)
    return Lines(np.unique(walk(dims, every).reshape(len(every), -1), axis=0))


def split(lines: Lines, sizes: Sequence[int]) -> list[Lines] | None:
    """Return one dim as several, or None where a line is no sum of steps along each."""
    parts = lines.rows.reshape(-1, *sizes)
    start = [slice(None), *[slice(1)] * len(sizes)]
    first = parts[tuple(start)]
    total = first
    for axis in range(len(sizes)):
        along = [*start]
        along[1 + axis] = slice(None)
        total = total + parts[tuple(along)] - first
    if not (total == parts).all():
        return None
    return [
        Lines(np.moveaxis(parts, axis + 1, -1).reshape(-1, size)) for axis, size in enumerate(sizes)
    ]
