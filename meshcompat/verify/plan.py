"""Which meshes are made, and which ranks must meet in each group: plain arithmetic, no torch.

The ranks come from counting coordinates, never from a mesh: they are what meshes are held
against.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

STANDARD_NAMES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
"""The root of an FSDP2 job with pipeline, context and tensor parallelism."""

FLATTENED = {
    "dp": ("dp_replicate", "dp_shard"),
    "dp_shard_cp": ("dp_shard", "cp"),
    "dp_cp": ("dp_replicate", "dp_shard", "cp"),
}
"""Flattened mesh dims of such a root, made where it has the dims."""

NON_PP = "non_pp"
EXPERT_NAMES = ("ep_shard", "ep")
COMPOSED = ("dp_replicate", "dp_shard_cp")

_FACTORS_GO_TO = ("dp_shard", "tp", "pp", "dp_replicate", "cp")


@dataclass(frozen=True)
class Row:
    """One mesh dim to try: its groups, of which each rank is in one.

    Attributes:
        mesh: Which mesh it is a dim of, in the words of the report.
        mesh_dim: Its name.
        over: Indices of the root's dims that it lies in.
        part: None for all ranks of *over*, else ``(size, stride)`` within them.
    """

    mesh: str
    mesh_dim: str
    over: tuple[int, ...]
    part: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.mesh}/{self.mesh_dim}"


@dataclass(frozen=True)
class Plan:
    """A root's shape and names, and all that is derived from them.

    Attributes:
        shape: Size of each mesh dim of the root.
        names: Their names.
        ep: Size of the expert-parallel mesh dim; None for one near the square root.
        bandwidth: Sizes in bytes to measure all-reduces of.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...]
    ep: int | None = None
    bandwidth: tuple[int, ...] = ()

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return math.prod(self.shape)

    @property
    def root_name(self) -> str:
        """What the report calls the root."""
        return "fsdp2" if self.names == STANDARD_NAMES else "root"

    @cached_property
    def flattened(self) -> dict[str, tuple[str, ...]]:
        """Flattened mesh dims to make, each with its dims in the order of the root."""
        made = {
            name: self._in_order(dims)
            for name, dims in FLATTENED.items()
            if self._has(*dims) and name not in self.names
        }
        if self._has("dp_shard") and not {NON_PP, *EXPERT_NAMES} & set(self.names):
            made[NON_PP] = tuple(name for name in self.names if name != "pp")
        return made

    @cached_property
    def expert_sizes(self) -> tuple[int, int] | None:
        """Sizes of ``(ep_shard, ep)`` over the ranks of one pipeline stage, near square."""
        choices = self.expert_choices
        if not choices:
            return None
        whole = choices[0]
        if self.ep is not None:
            return (whole // self.ep, self.ep)
        shard = max(whole // ep for ep in choices if (whole // ep) ** 2 <= whole)
        return (shard, whole // shard)

    @cached_property
    def expert_choices(self) -> tuple[int, ...]:
        """Sizes that ``ep`` can have over the ranks of one pipeline stage, largest first."""
        if NON_PP not in self.flattened:
            return ()
        parts = self._side_by_side(self._indices(self.flattened[NON_PP]))
        whole = math.prod(parts)
        small = [size for size in range(1, math.isqrt(whole) + 1) if whole % size == 0]
        shards = sorted({*small, *(whole // size for size in small)})
        return tuple(whole // shard for shard in shards if _cuts(parts, shard))

    @property
    def is_composed(self) -> bool:
        """Whether ``(dp_replicate, dp_shard_cp)`` can be picked."""
        return self._has(COMPOSED[0]) and COMPOSED[1] in self.flattened

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every mesh dim of every mesh, in the order in which they are tried."""
        indices: dict[str, tuple[int, ...]] = {
            name: (index,) for index, name in enumerate(self.names)
        }
        indices |= {name: self._indices(dims) for name, dims in self.flattened.items()}
        rows = [Row(self.root_name, name, indices[name]) for name in self.names]
        rows += [Row("flattened", name, indices[name]) for name in self.flattened]
        if self.expert_sizes is not None:
            shard, expert = self.expert_sizes
            over = indices[NON_PP]
            rows.append(Row("expert", EXPERT_NAMES[0], over, (shard, expert)))
            rows.append(Row("expert", EXPERT_NAMES[1], over, (expert, 1)))
        if self.is_composed:
            rows += [Row("hsdp", name, indices[name]) for name in COMPOSED]
        return tuple(rows)

    @cached_property
    def measured(self) -> tuple[Row, ...]:
        """The mesh dims whose bandwidth is measured: one for each set of groups."""
        rows: dict[tuple[int, ...], Row] = {}
        for row in self.rows if self.bandwidth else ():
            rows.setdefault(self.group_of(row, 0), row)
        return tuple(row for group, row in rows.items() if len(group) > 1)

    @cached_property
    def makings(self) -> tuple[str, ...]:
        """The meshes to make, by name, in order."""
        expert = () if self.expert_sizes is None else ("expert",)
        return (self.root_name, *self.flattened, *expert, *(("hsdp",) if self.is_composed else ()))

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """What a rank does, in order, in the words of a sentence."""
        return (
            "starting up",
            "joining the default process group",
            *(f"making the mesh {name}" for name in self.makings),
            *(f"the all-reduce on {row}" for row in self.rows),
            *(f"measuring the bandwidth of {row}" for row in self.measured),
        )

    @property
    def first_row_step(self) -> int:
        """Index among the steps of the first all-reduce."""
        return len(self.steps) - len(self.measured) - len(self.rows)

    def row_at(self, step: int) -> Row | None:
        """Return the row that is tried in a step, or None."""
        index = step - self.first_row_step
        tried = (*self.rows, *self.measured)
        return tried[index] if 0 <= index < len(tried) else None

    def group_of(self, row: Row, rank: int) -> tuple[int, ...]:
        """Return the ranks that *rank* must meet on a mesh dim, in order."""
        strides = [math.prod(self.shape[index + 1 :]) for index in range(len(self.shape))]
        first = rank
        for index in row.over:
            first -= rank // strides[index] % self.shape[index] * strides[index]
        counts = itertools.product(*(range(self.shape[index]) for index in row.over))
        ranks = [
            first + sum(c * strides[i] for c, i in zip(count, row.over, strict=True))
            for count in counts
        ]
        if row.part is None:
            return tuple(ranks)
        size, stride = row.part
        place = ranks.index(rank)
        start = place - place // stride % size * stride
        return tuple(ranks[start : start + size * stride : stride])

    def groups_of(self, row: Row) -> list[tuple[int, ...]]:
        """Return all groups of a mesh dim, by their lowest rank."""
        grouped: set[int] = set()
        groups = []
        for rank in range(self.world_size):
            if rank not in grouped:
                groups.append(self.group_of(row, rank))
                grouped.update(groups[-1])
        return groups

    def group_count(self, row: Row) -> int:
        """Return how many groups the ranks form on a mesh dim."""
        return self.world_size // len(self.group_of(row, 0))

    def _has(self, *names: str) -> bool:
        return set(names) <= set(self.names)

    def _in_order(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in self.names if name in names)

    def _indices(self, names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(map(self.names.index, names))

    def _side_by_side(self, indices: tuple[int, ...]) -> list[int]:
        """Return the sizes of the runs of adjacent dims: only runs can be cut anywhere."""
        parts: list[int] = []
        for before, index in zip((None, *indices), indices, strict=False):
            if before is not None and before + 1 == index:
                parts[-1] *= self.shape[index]
            else:
                parts.append(self.shape[index])
        return parts


def derive_shape(world_size: int, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return a shape of *world_size* ranks that makes as many of *names* as it can above 1."""
    known = [name for name in _FACTORS_GO_TO if name in names]
    order = [*known, *(name for name in names if name not in known)]
    sizes = dict.fromkeys(order, 1)
    for name, factor in zip(itertools.cycle(order), _prime_factors(world_size), strict=False):
        sizes[name] *= factor
    return tuple(sizes[name] for name in names)


def _prime_factors(number: int) -> list[int]:
    """Return the prime factors of *number*, largest first."""
    factors = []
    factor = 2
    while factor * factor <= number:
        while number % factor == 0:
            factors.append(factor)
            number //= factor
        factor += 1
    if number > 1:
        factors.append(number)
    return factors[::-1]


def _cuts(parts: list[int], outer: int) -> bool:
    """Return whether *outer* slices of equal size cut the parts, outermost first, evenly."""
    first, *others = parts
    if first >= outer:
        return first % outer == 0
    return outer % first == 0 and _cuts(others, outer // first)
