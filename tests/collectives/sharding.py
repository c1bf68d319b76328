"""DTensors that lie on meshes of one root and move between them, and by arithmetic what each rank then has."""

from __future__ import annotations

import functools

import torch

from tests.collectives.consumers import chunk, make_root, place_in, ranks_of
from tests.collectives.dtensors import dtensor_api
from tests.collectives.kinds import KINDS


def matrix(rows, columns):
    """Return a matrix whose entries all differ.

    Each case has its own number of rows: DTensor remembers, by mesh and tensor, meshes that equal
    those of a case before, whose groups are gone.
    """
    return torch.arange(rows * columns, dtype=torch.double).reshape(rows, columns)


def shard_of(tensor, placements, shape, coordinate):
    """Return this place's part of a tensor, where a placement is the dim that is sharded."""
    for dim, count, index in zip(placements, shape, coordinate, strict=True):
        if dim is not None:
            tensor = chunk(tensor, dim, count, index)
    return tensor


def as_placements(dims):
    api = dtensor_api()
    return [api.Replicate() if dim is None else api.Shard(dim) for dim in dims]


def moves(ndim):
    """Return placements to go through: rows outside, columns inside, both, and whole."""
    rest = [None] * (ndim - 1)
    both = [0, *rest[1:], 1] if ndim > 1 else [0]
    return [[0, *rest], [*rest, 1], both, [None, *rest]]


def walks(make_meshes, tensor):
    """Redistribute on each mesh from one placement to the next; return each part, then the whole."""
    api = dtensor_api()
    found = []
    for mesh in make_meshes():
        first, *others = moves(mesh.ndim)
        parts = [api.distribute_tensor(tensor, mesh, as_placements(first))]
        for placements in others:
            parts.append(parts[-1].redistribute(mesh, as_placements(placements)))
        found.append([*(part.to_local().cpu() for part in parts), parts[2].full_tensor().cpu()])
    return found


def wanted_walks(meshes, rank, tensor):
    index, coordinate = place_in(meshes, rank)
    shape = meshes[index].shape
    parts = [shard_of(tensor, dims, shape, coordinate) for dims in moves(len(shape))]
    return [*parts, tensor]


def same(found, wanted):
    return all(torch.equal(ours, other) for ours, other in zip(found, wanted, strict=True))


def made_of(shape, kinds, device="cpu"):
    """Return how to make the meshes of these kinds of one root."""
    return functools.partial(_made, shape, kinds, device)


def _made(shape, kinds, device):
    root = make_root(shape, device)
    return [KINDS[kind].make(root) for kind in kinds]


def is_right(by_rank, shape, kinds, wanted, tensor):
    """Return for each kind whether all ranks have what enumeration says."""
    verdicts = {}
    for place, kind in enumerate(kinds):
        meshes = KINDS[kind].meshes(ranks_of(shape))
        verdicts[kind] = all(
            same(found[place], wanted(meshes, rank, tensor)) for rank, found in enumerate(by_rank)
        )
    return verdicts


SAVED, LOADED = "composed", "dims of an unflattened mesh, reversed"


def written(folder, tensor, make_meshes):
    """Save a DTensor that lies on one mesh."""
    from torch.distributed import checkpoint  # noqa: PLC0415  (takes seconds)

    (mesh,) = make_meshes()
    state = {"weight": dtensor_api().distribute_tensor(tensor, mesh, as_placements([0, 1]))}
    checkpoint.save(state, storage_writer=checkpoint.FileSystemWriter(folder))


def read(folder, tensor, make_meshes):
    """Load a DTensor that lies on another mesh, in another placement."""
    from torch.distributed import checkpoint  # noqa: PLC0415  (takes seconds)

    (mesh,) = make_meshes()
    zeros = torch.zeros_like(tensor)
    state = {"weight": dtensor_api().distribute_tensor(zeros, mesh, as_placements([1, 0]))}
    checkpoint.load(state, storage_reader=checkpoint.FileSystemReader(folder))
    return [[state["weight"].to_local().cpu(), state["weight"].full_tensor().cpu()]]


def wanted_read(meshes, rank, tensor):
    index, coordinate = place_in(meshes, rank)
    return [shard_of(tensor, [1, 0], meshes[index].shape, coordinate), tensor]
