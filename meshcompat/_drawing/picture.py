"""What a picture shows: every rank in its node, and its group along each mesh dim. Plain data."""

from __future__ import annotations

import bisect
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from meshcompat import _layout
from meshcompat._drawing.words import count_text, mark_of
from meshcompat._rank_text import ranks_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshcompat._layout import Axes

RANKS_IN_A_ROW = 8
"""Ranks that stand together where nobody said which nodes there are."""


class MeshDim(NamedTuple):
    """One mesh dim of one mesh."""

    mesh: str
    """What the mesh is called, or nothing where there is only one."""
    name: str
    axes: Axes


class Box(NamedTuple):
    """Ranks that are drawn together, ascending: those of one node."""

    title: str
    ranks: Sequence[int]


class Gap(NamedTuple):
    """What is left out between two items."""

    ranks: int
    boxes: str = ""
    """How many boxes these are, in words; nothing inside a box."""

    def __str__(self) -> str:
        return f"{self.boxes}{self.ranks} more ranks"


class Cells(NamedTuple):
    """A box with what is drawn of its ranks."""

    title: str
    ranks: list[int | Gap]


@dataclass(frozen=True)
class Picture:
    """Meshes over the same ranks.

    Attributes:
        title: What is drawn, in a line.
        ranks: Global rank at each position of the root.
        root: Mesh dims of the root, for the coordinate of a rank.
        dims: Mesh dims to draw, each on its own; each divides the ranks into groups.
        boxes: Nodes, and their ranks.
        box_word: What a box is called.
        rank: The rank to point out, or None.
        notes: Sentences below the title.
    """

    title: str
    ranks: Sequence[int]
    root: tuple[MeshDim, ...]
    dims: tuple[MeshDim, ...]
    boxes: tuple[Box, ...]
    box_word: str = "node"
    rank: int | None = None
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def positions(self) -> Sequence[int] | dict[int, int]:
        """Position in the root by global rank."""
        if isinstance(self.ranks, range) and self.ranks == range(len(self.ranks)):
            return self.ranks
        return {rank: position for position, rank in enumerate(self.ranks)}

    def group_number(self, dim: MeshDim, rank: int) -> int:
        """Return the number of a rank's group, counted in the order of first positions."""
        starts = _layout.complement(dim.axes, len(self.ranks)) or ()
        return _layout.coordinate(starts, _layout.start_of(dim.axes, self.positions[rank]))

    def group_count(self, dim: MeshDim) -> int:
        """Return how many groups there are along a mesh dim."""
        return len(self.ranks) // _layout.size_of(dim.axes)

    def group_of(self, dim: MeshDim, rank: int) -> list[int]:
        """Return the ranks of a rank's group, in the order of the mesh dim."""
        first = _layout.start_of(dim.axes, self.positions[rank])
        return [self.ranks[first + step] for step in _layout.offsets(dim.axes)]

    def headline(self, dim: MeshDim) -> str:
        """Write what a mesh dim divides the ranks into."""
        name = dim.name if dim.mesh in {"", dim.name} else f"{dim.mesh}: {dim.name}"
        size = _layout.size_of(dim.axes)
        if size == 1:
            return f"{name}: size 1, every rank is alone"
        told = f"{name}: {count_text(self.group_count(dim), 'group')} of {size} ranks"
        if self.rank is None:
            return told
        group = self.group_text(dim, self.rank).removeprefix(f"{dim.name} ")
        return f"{told}; rank {self.rank} is in {group}"

    def label(self, dim: MeshDim, rank: int | Gap) -> str:
        """Write what stands in the cell of a rank, or of ranks that are left out."""
        if isinstance(rank, Gap):
            return f"…{rank.ranks}…"
        return f"{rank} {mark_of(self.group_number(dim, rank))}"

    def place_text(self, rank: int) -> str:
        """Write a rank and its coordinate."""
        position = self.positions[rank]
        parts = (f"{dim.name}={_layout.coordinate(dim.axes, position)}" for dim in self.root)
        return f"rank {rank} at {', '.join(parts)}"

    def group_text(self, dim: MeshDim, rank: int) -> str:
        """Write a rank's group along one mesh dim."""
        key = (dim, self.group_number(dim, rank))
        if key not in self._group_texts:
            ranks = ranks_text(self.group_of(dim, rank))
            self._group_texts[key] = f"{dim.name} {mark_of(key[1])}: {ranks}"
        return self._group_texts[key]

    def details(self, rank: int) -> list[str]:
        """Write a rank, its coordinate, and its group along every drawn mesh dim."""
        return [self.place_text(rank), *(self.group_text(dim, rank) for dim in self.dims)]

    def folded(self, dim: MeshDim, budget: int) -> list[Cells | Gap]:
        """Return the boxes to draw for a mesh dim, with about *budget* ranks; the rest are gaps.

        The first and the last stay, and as many as fit of those with the pointed-out rank and
        its group.
        """
        mates: list[int] = []
        if self.rank is not None:
            mates = [self.rank, *self.group_of(dim, self.rank)[: budget // 2]]
        homes = list(map(self._home, mates))
        biggest = max(len(box.ranks) for box in self.boxes)
        drawn: list[Cells | Gap] = []
        for piece in _fold(len(self.boxes), homes, budget // biggest):
            boxes = self.boxes[piece.start : piece.stop]
            if not piece.is_kept:
                count = sum(len(box.ranks) for box in boxes)
                drawn.append(Gap(count, f"{len(boxes)} more {self.box_word}s, "))
            else:
                drawn += [_cells_of(box, mates, budget) for box in boxes]
        return drawn

    @functools.cached_property
    def _group_texts(self) -> dict[tuple[MeshDim, int], str]:
        return {}

    @functools.cached_property
    def _firsts(self) -> list[int]:
        return [box.ranks[0] for box in self.boxes]

    def _home(self, rank: int) -> int:
        """Return the index of the box that a rank is in; most boxes are runs of ranks."""
        likely = bisect.bisect_right(self._firsts, rank) - 1
        if rank in self.boxes[likely].ranks:
            return likely
        return next(index for index, box in enumerate(self.boxes) if rank in box.ranks)


def _cells_of(box: Box, mates: list[int], budget: int) -> Cells:
    places = [box.ranks.index(rank) for rank in mates if rank in box.ranks]
    cells: list[int | Gap] = []
    for piece in _fold(len(box.ranks), places, budget):
        count = piece.stop - piece.start
        cells += box.ranks[piece.start : piece.stop] if piece.is_kept else [Gap(count)]
    return Cells(box.title, cells)


class _Piece(NamedTuple):
    """A run of indices, kept or left out."""

    start: int
    stop: int
    is_kept: bool


def _fold(count: int, wanted: Sequence[int], room: int) -> list[_Piece]:
    """Cut the indices below *count* into runs that are kept, of about *room* in all, and gaps.

    The first and the last are kept, then those that are wanted, in their order, then others. No
    gap is a single index.
    """
    if count <= room:
        return [_Piece(0, count, is_kept=True)]
    kept: set[int] = set()
    for index in (0, count - 1, *wanted, *range(min(count, room))):
        kept.add(index)
        if len(kept) >= max(room, 3):
            break
    kept |= {index + 1 for index in kept if index + 2 in kept}
    pieces: list[_Piece] = []
    start = 0
    for index in sorted(kept):
        if pieces and pieces[-1].stop == index:
            pieces[-1] = pieces[-1]._replace(stop=index + 1)
        else:
            if index > start:
                pieces.append(_Piece(start, index, is_kept=False))
            pieces.append(_Piece(index, index + 1, is_kept=True))
        start = index + 1
    return pieces


def boxes_of(ranks: Sequence[int], hosts: Sequence[str] | int | None) -> tuple[Box, ...]:
    """Return the boxes of these ranks.

    Args:
        ranks: Global ranks, in any order.
        hosts: Ranks per node; or the host of every global rank; or None where nodes are unknown.
    """
    ascending = ranks if isinstance(ranks, range) and ranks.step > 0 else sorted(ranks)
    if isinstance(hosts, int):
        return _chunks(ascending, hosts, "node {number}")
    if hosts is None:
        return _chunks(ascending, RANKS_IN_A_ROW, "ranks {first}-{last}")
    homes: dict[str, list[int]] = {}
    for rank in ascending:
        homes.setdefault(hosts[rank], []).append(rank)
    return tuple(itertools.starmap(Box, homes.items()))


def _chunks(ranks: Sequence[int], size: int, title: str) -> tuple[Box, ...]:
    runs = itertools.groupby(ranks, lambda rank: rank // size)
    homes: Iterable[tuple[int, Sequence[int]]] = ((number, list(held)) for number, held in runs)
    if isinstance(ranks, range) and ranks.start == 0 and ranks.step == 1:
        homes = ((start // size, ranks[start : start + size]) for start in ranks[::size])
    return tuple(
        Box(title.format(number=number, first=held[0], last=held[-1]), held)
        for number, held in homes
    )
