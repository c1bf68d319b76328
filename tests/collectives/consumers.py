"""What the tests of consumers share: the model, its training alone, and torch's own meshes.

A mesh that torch makes of an enumeration of ranks is a second oracle, and a wrong enumeration
gives the wrong mesh that every check must notice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from tests.collectives.kinds import NAMES

STEPS = 3


def make_root(shape, device="cpu"):
    return mc.init_device_mesh(device, shape, mesh_dim_names=NAMES)


def ranks_of(shape):
    return np.arange(np.prod(shape)).reshape(shape)


def wrong_ranks_of(shape):
    """Return the ranks of a root whose first dim varies fastest."""
    return np.arange(8).reshape(shape[::-1]).T


def torchs_own(meshes, names=("a", "b", "c", "d")):
    """Return the mesh of *meshes* that this rank is in, made by torch alone."""
    made = [
        DeviceMesh("cpu", torch.from_numpy(ranks.copy()), mesh_dim_names=names[: ranks.ndim])
        for ranks in meshes
    ]
    return next(mesh for mesh in made if mesh.get_coordinate() is not None)


def place_in(meshes, rank):
    """Return which of *meshes* the rank is in, and its coordinate there."""
    for index, ranks in enumerate(meshes):
        if rank in ranks:
            return index, tuple(int(place) for (place,) in np.nonzero(ranks == rank))
    raise LookupError(f"rank {rank} is in none of {meshes}")


def chunk(tensor, dim, count, index):
    """Return the part of a tensor as torch shards it: the last parts may be smaller, or empty."""
    parts = tensor.chunk(count, dim)
    return parts[index] if index < len(parts) else tensor.narrow(dim, 0, 0)


def make_model(dtype=torch.double):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).to(dtype)


def make_batch(seed=1, dtype=torch.double):
    torch.manual_seed(seed)
    return torch.randn(8, 8, dtype=dtype), torch.randn(8, 4, dtype=dtype)


def part_of(batch, meshes, rank):
    """Return what of a batch belongs to the rank where each mesh has the whole batch."""
    index, coordinate = place_in(meshes, rank)
    shape = meshes[index].shape
    place = int(np.ravel_multi_index(coordinate, shape))
    return [chunk(tensor, 0, int(np.prod(shape)), place) for tensor in batch]


def loss_of(model, batch):
    inputs, targets = batch
    return (model(inputs) - targets).square().mean()


def parallelized(model, mesh):
    from torch.distributed.tensor import parallel  # noqa: PLC0415  (takes seconds)

    plan = {"0": parallel.ColwiseParallel(), "2": parallel.RowwiseParallel()}
    return parallel.parallelize_module(model, mesh, plan)


class Trained(NamedTuple):
    """What a rank has after some steps: losses of its part, whole weights, and its own shards."""

    losses: list[float]
    whole: list[torch.Tensor]
    shards: list[torch.Tensor]


def trained_alone(parts, dtype=torch.double):
    """Return the losses of each part of the batch, and the weights, of one process."""
    model, batch = make_model(dtype), make_batch(dtype=dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(STEPS):
        losses.append([loss_of(model, part).item() for part in parts])
        loss_of(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    return [list(of_part) for of_part in zip(*losses, strict=True)], [
        weight.detach() for weight in model.parameters()
    ]


def trained(make_meshes, meshes, dtype=torch.double):
    """Train on this rank; *make_meshes* gives the mesh of each module and that of TP, or None.

    *meshes* are all meshes of data by enumeration: they say which part of the batch is mine.
    """
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415  (takes seconds; since 2.6)

    data, tensor = make_meshes()
    device = data[0].device_type
    model = make_model(dtype).to(device)
    if tensor is not None:
        parallelized(model, tensor)
    for module, mesh in zip((model[0], model[2], model), data, strict=True):
        fully_shard(module, mesh=mesh)
    mine = [part.to(device) for part in part_of(make_batch(dtype=dtype), meshes, dist.get_rank())]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(model, mine)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = list(model.parameters())
    return Trained(
        losses,
        [weight.full_tensor().detach().cpu() for weight in weights],
        [weight.to_local().detach().cpu() for weight in weights],
    )
