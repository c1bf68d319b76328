"""What each rank sees of a mesh through its collectives, and what it has to see.

`seen` runs on a rank and communicates. `expected` is arithmetic on arrays of ranks, in the
process of the test, and knows of no mesh.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

import meshcompat as mc


class Seen(NamedTuple):
    """A mesh as one rank sees it.

    Attributes:
        ranks: Nested list of the ranks of the mesh.
        coordinate: Place of this rank in it; None outside.
        sums: Per mesh dim the sum of `bit` over its group.
        orders: Per mesh dim the ranks in the order in which an all-gather brings them.
        local_ranks: Per mesh dim what torch takes for this rank's place in the group.
    """

    ranks: list
    coordinate: tuple[int, ...] | None
    sums: tuple[int, ...]
    orders: tuple[list[int], ...]
    local_ranks: tuple[int, ...]


def seen(mesh):
    """Use the group of every mesh dim on this rank; outside the mesh there is none."""
    if not mc.is_member(mesh):
        return Seen(mesh.mesh.tolist(), None, (), (), ())
    dims = range(mesh.ndim)
    sums, orders = exchange([mesh.get_group(dim) for dim in dims], mesh.device_type)
    return Seen(
        mesh.mesh.tolist(),
        tuple(mesh.get_coordinate()),
        tuple(sums),
        tuple(orders),
        tuple(mesh.get_local_rank(dim) for dim in dims),
    )


def exchange(groups, device="cpu"):
    """Return for each group the sum of `bit`, and its ranks in the order of an all-gather.

    All collectives are under way at once, as a training step has them.
    """
    mine = torch.tensor([dist.get_rank()], device=device)
    totals = [torch.tensor([bit()], device=device) for _ in groups]
    parts = [[torch.zeros_like(mine) for _ in range(group.size())] for group in groups]
    works = []
    for group, total, places in zip(groups, totals, parts, strict=True):
        works.append(dist.all_reduce(total, group=group, async_op=True))
        works.append(dist.all_gather(places, mine, group=group, async_op=True))
    for work in works:
        work.wait()
    return [total.item() for total in totals], [torch.cat(places).tolist() for places in parts]


def bit():
    """Return what this rank adds to a sum: its own binary digit, so that all can be told."""
    return 1 << dist.get_rank()


def bits(ranks):
    """Return the sum over *ranks*."""
    return sum(1 << rank for rank in ranks)


def cosets(ranks, *dims):
    """Return the arrays of ranks of all meshes over *dims*, each some axes of *ranks* joined."""
    picked = [axis for dim in dims for axis in dim]
    rest = [axis for axis in range(ranks.ndim) if axis not in picked]
    shape = [int(np.prod([ranks.shape[axis] for axis in dim])) for dim in dims]
    return list(ranks.transpose(rest + picked).reshape(-1, *shape))


def expected(meshes, world_size=8):
    """Return what each rank of the world has to see, if *meshes* are all that it may be in."""
    return [_expected_on(rank, meshes) for rank in range(world_size)]


def _expected_on(rank, meshes):
    for ranks in meshes:
        if rank in ranks:
            coordinate = tuple(int(place) for (place,) in np.nonzero(ranks == rank))
            lines = [
                np.moveaxis(ranks, dim, -1)[coordinate[:dim] + coordinate[dim + 1 :]].tolist()
                for dim in range(ranks.ndim)
            ]
            return Seen(
                ranks.tolist(), coordinate, tuple(map(bits, lines)), tuple(lines), coordinate
            )
    # Outside, a rank is told of the first mesh.
    return Seen(meshes[0].tolist(), None, (), (), ())
