"""DTensor, tensor parallelism and FSDP2 on meshes of one root, against one process alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import meshcompat as mc
from tests.collectives.dtensors import dtensor_api
from tests.collectives.kinds import KINDS, NAMES, flat_among, with_experts
from tests.collectives.sums import expected

pytestmark = pytest.mark.multiprocess

RANKS = np.arange(8).reshape(1, 2, 2, 2)
LEFT = np.arange(32).reshape(8, 4)
RIGHT = np.arange(32).reshape(4, 8) % 7


def make_root(shape=RANKS.shape):
    return mc.init_device_mesh("cpu", shape, mesh_dim_names=NAMES)


def products(kinds):
    """Multiply on each kind of mesh: rows over its first mesh dim, columns over its last."""
    api = dtensor_api()
    root = make_root()
    left, right = (torch.from_numpy(matrix).double() for matrix in (LEFT, RIGHT))
    found = {}
    for kind in kinds:
        mesh = KINDS[kind].make(root)
        others = [api.Replicate()] * (mesh.ndim - 1)
        rows = api.distribute_tensor(left, mesh, [api.Shard(0), *others])
        columns = api.distribute_tensor(right, mesh, [*others, api.Shard(1)])
        found[kind] = (
            rows.to_local().tolist(),
            rows.full_tensor().tolist(),
            (rows @ columns).full_tensor().tolist(),
        )
    return found


DTENSOR_KINDS = [
    "dims reversed",
    "dims in any order",
    "flattened, not neighbours",
    "composed",
    "composed, reversed",
    "unflattened",
    "dim of an unflattened mesh",
    "dims of an unflattened mesh, reversed",
]


def test_dtensors_multiply_on_every_kind_of_mesh_as_one_process_does(pool):
    by_rank = pool.run(products, DTENSOR_KINDS)
    for kind in DTENSOR_KINDS:
        for found, place in zip(by_rank, expected(KINDS[kind].meshes(RANKS)), strict=True):
            size = len(place.ranks)
            shard = np.split(LEFT, size)[place.coordinate[0]]
            assert found[kind] == (shard.tolist(), LEFT.tolist(), (LEFT @ RIGHT).tolist()), kind


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).double()


def make_batch(samples=8):
    torch.manual_seed(1)
    return torch.randn(samples, 8, dtype=torch.double), torch.randn(samples, 4, dtype=torch.double)


def parallelized(model, mesh):
    from torch.distributed.tensor import parallel  # noqa: PLC0415  (takes seconds)

    plan = {"0": parallel.ColwiseParallel(), "2": parallel.RowwiseParallel()}
    return parallel.parallelize_module(model, mesh, plan)


def tensor_parallel_error(make_mesh):
    """Return how far a tensor-parallel model is from the same model in one process."""
    model, (batch, _) = make_model(), make_batch()
    alone = copy.deepcopy(model)
    models = (alone, parallelized(model, make_mesh()))
    inputs = [batch.clone().requires_grad_() for _ in range(2)]
    outputs = [net(x) for net, x in zip(models, inputs, strict=True)]
    for output in outputs:
        output.square().sum().backward()
    gradients = [x.grad for x in inputs]
    return max((ours - other).abs().max().item() for ours, other in (outputs, gradients))


TENSOR_PARALLEL = {
    "innermost dim": lambda: mc.get_submesh(make_root(), "cp"),
    "flattened dim": lambda: flat_among(make_root(), ("dp_shard", "cp"), "dp_shard_cp"),
    "flattened dim, not neighbours": lambda: flat_among(
        make_root((2, 1, 2, 2)), ("pp", "cp"), "pp_cp"
    ),
    "dim of a reversed mesh": lambda: mc.get_submesh(
        mc.get_submesh(make_root(), ("cp", "dp_shard")), "cp"
    ),
    "dim of an unflattened mesh": lambda: mc.get_submesh(with_experts(make_root()), "ep"),
}


@pytest.mark.parametrize("mesh", TENSOR_PARALLEL)
def test_tensor_parallel_modules_compute_what_one_process_does(pool, mesh):
    assert max(pool.run(tensor_parallel_error, TENSOR_PARALLEL[mesh])) < 1e-9


def loss_of(model, batch):
    inputs, targets = batch
    return (model(inputs) - targets).square().mean()


def fsdp_error(shape, make_meshes, steps=3):
    """Return how far losses and weights of FSDP2 are from those of one process."""
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415  (takes seconds; since 2.6)

    data, tensor = make_meshes(make_root(shape))
    model, batch = make_model(), make_batch()
    alone = copy.deepcopy(model)
    if tensor is not None:
        parallelized(model, tensor)
    for module in (model[0], model[2], model):
        fully_shard(module, mesh=data)
    place = np.ravel_multi_index(data.get_coordinate(), data.mesh.shape)
    mine = [part.chunk(data.size())[place] for part in batch]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (model, alone)]
    errors = []
    for _ in range(steps):
        loss = loss_of(model, mine)
        errors.append(loss - loss_of(alone, mine))
        loss.backward()
        loss_of(alone, batch).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    pairs = zip(model.parameters(), alone.parameters(), strict=True)
    errors += [(weight.full_tensor() - other).abs().max() for weight, other in pairs]
    return max(error.abs().item() for error in errors)


def sharded(root):
    flat_among(root, ("dp_shard", "cp"), "dp_shard_cp")
    return mc.get_fsdp_dp_mesh(root), None


def sharded_by_experts(root):
    return mc.get_submesh(with_experts(root), ("ep_shard", "ep")), None


def sharded_beside_tensor_parallel(root):
    data = flat_among(root, ("pp", "dp_replicate"), "pp_dp_replicate")
    return data, mc.get_submesh(root, "cp")


FSDP = {
    "flattened": ((2, 1, 2, 2), sharded),
    "replicated over one dim, sharded over a flattened one": ((1, 2, 2, 2), sharded),
    "replicated and sharded over dims of an unflattened mesh": ((1, 2, 2, 2), sharded_by_experts),
    "flattened, beside tensor parallelism": ((2, 2, 1, 2), sharded_beside_tensor_parallel),
}


@pytest.mark.parametrize("mesh", FSDP)
def test_fsdp2_trains_as_one_process_does(pool, mesh):
    assert max(pool.run(fsdp_error, *FSDP[mesh])) < 1e-5
