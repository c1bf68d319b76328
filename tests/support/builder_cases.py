"""Combinations of parallelism sizes, and what their meshes must be by plain enumeration.

Nothing here asks the code under test, but `seen`, which writes down what it made.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch.distributed as dist

import meshcompat as mc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed.device_mesh import DeviceMesh

NATIVE = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
FLATTENED = {
    "dp": ("dp_replicate", "dp_shard"),
    "dp_shard_cp": ("dp_shard", "cp"),
    "dp_cp": ("dp_replicate", "dp_shard", "cp"),
}


class Sizes(NamedTuple):
    """One line of the table, for the mesh of FSDP2."""

    pp: int
    replicate: int
    shard: int
    cp: int
    tp: int
    ep: int
    leaves_dp_out: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self[:5])

    @property
    def world_size(self) -> int:
        return math.prod(self.shape)

    @property
    def parallelism(self) -> mc.ParallelismSizes:
        return mc.ParallelismSizes(
            dp_size=None if self.leaves_dp_out else self.replicate * self.shard,
            dp_replicate_size=self.replicate,
            tp_size=self.tp,
            pp_size=self.pp,
            cp_size=self.cp,
            ep_size=self.ep,
        )

    def __str__(self) -> str:
        return "-".join(
            f"{name}{size}"
            for name, size in zip(("pp", "rep", "shard", "cp", "tp", "ep"), self, strict=False)
        )


def combinations(world_size: int, at_most: int | None = None) -> list[Sizes]:
    """Return what fills the world: all combinations, or some, evenly spread over them."""
    divisors = [size for size in range(1, world_size + 1) if world_size % size == 0]
    every = [
        Sizes(*shape, ep, leaves_dp_out=(index + ep) % 2 == 0)
        for index, shape in enumerate(
            itertools.product(divisors, divisors, divisors, divisors, divisors)
        )
        if math.prod(shape) == world_size and (shape[1] == 1 or shape[2] > 1)
        for ep in divisors
        if world_size // shape[0] % ep == 0
    ]
    count = len(every) if at_most is None else min(at_most, len(every))
    return [every[index * len(every) // count] for index in range(count)]


def expected(sizes: Sizes, rank: int, ranks: Sequence[int] | None = None) -> dict[str, Any]:
    """Return the ranks of every mesh around *rank*, by name; of the first outside *ranks*."""
    order = np.array(range(sizes.world_size) if ranks is None else ranks)
    grid = order.reshape(sizes.shape)
    place = np.argwhere(grid == rank)
    here = place[0] if len(place) else np.zeros(5, dtype=int)
    found: dict[str, Any] = {"root": grid.tolist()}
    for name, joined in ({name: (name,) for name in NATIVE} | FLATTENED).items():
        cut = tuple(slice(None) if dim in joined else here[i] for i, dim in enumerate(NATIVE))
        found[name] = grid[cut].flatten().tolist()
    if sizes.ep > 1:
        experts = grid[here[0]].reshape(-1, sizes.ep)
        row, column = np.argwhere(experts == rank)[0] if len(place) else (0, 0)
        found |= {
            "experts": experts.tolist(),
            "ep": experts[row].tolist(),
            "ep_shard": experts[:, column].tolist(),
        }
    return found


def seen(mesh: DeviceMesh, experts: DeviceMesh | None) -> dict[str, Any]:
    """Return the ranks of every mesh and of every group around this rank, by name."""
    found: dict[str, Any] = {"root": mesh.mesh.tolist()}
    found |= {name: _line(mesh, name) for name in NATIVE}
    for name in FLATTENED:
        flat = mc.get_flat_mesh(mesh, name)
        found[name] = flat.mesh.tolist()
        assert _line(flat, name) == found[name]
    if experts is not None:
        found["experts"] = experts.mesh.tolist()
        found |= {name: _line(experts, name) for name in ("ep", "ep_shard")}
    return found


def groups_of(mesh: DeviceMesh, experts: DeviceMesh | None) -> dict[str, dist.ProcessGroup]:
    """Return this rank's group of every mesh dim, native or flattened, by name."""
    found = {name: mc.get_group(mesh, name) for name in (*NATIVE, *FLATTENED)}
    if experts is not None:
        found |= {name: mc.get_group(experts, name) for name in ("ep", "ep_shard")}
    return found


def new_groups(sizes: Sizes) -> list[tuple[int, ...]]:
    """Return the ranks of every group that must be made, sorted: no partition twice.

    Experts talk over groups of their own; but ranks that are alone share one group, and the
    whole world has the default one.
    """
    everyone = range(sizes.world_size)
    partitions = set()
    for name in (*NATIVE, *FLATTENED):
        partitions.add(frozenset(tuple(expected(sizes, rank)[name]) for rank in everyone))
    own = []
    for name in ("ep", "ep_shard") if sizes.ep > 1 else ():
        partition = frozenset(tuple(expected(sizes, rank)[name]) for rank in everyone)
        own += [partition] if len(partition) < sizes.world_size else []
        partitions |= {partition} - set(own)
    made = [*partitions, *own]
    return sorted(group for partition in made if len(partition) > 1 for group in partition)


def _line(mesh: DeviceMesh, name: str) -> list[int]:
    """Return the ranks along one mesh dim, in the order of its group."""
    if not mc.is_member(mesh):
        return mc.get_ranks(mesh, name)
    group = mesh.get_group(name)
    assert mesh.get_local_rank(name) == dist.get_rank(group)
    return dist.get_process_group_ranks(group)
